//! The leases of several clusters at the same time, and which of them could not be asked.

use futures_util::future::join_all;
use jiff::Timestamp;

use super::{filter::Chosen, held::Held, pages::Pages};
use crate::{
    failure::Failure,
    operate::{
        document::Unreached,
        reach::{Opened, Reach},
        server::Server,
    },
};

/// What was found.
pub struct Gathered {
    /// The clusters that have answered.
    pub servers: Vec<Server>,
    /// The leases that are meant.
    pub leases: Vec<Held>,
    /// Those that have not.
    pub errors: Vec<Unreached>,
    /// How many were asked.
    pub tried: usize,
}

impl Gathered {
    /// The time of a lease's server.
    pub fn now(&self, lease: &Held) -> Timestamp {
        self.server(lease).map_or_else(Timestamp::now, Server::now)
    }

    /// The cluster of a lease.
    pub fn server(&self, lease: &Held) -> Option<&Server> {
        self.servers.iter().find(|server| server.name == lease.cluster)
    }
}

/// All leases that are meant and for which `is_wanted` holds, of each cluster that can be asked.
///
/// # Errors
/// When the only cluster cannot be asked.
pub async fn gather(
    opened: Vec<Opened>,
    reach: &Reach,
    chosen: &Chosen<'_>,
    is_wanted: impl Fn(&Held) -> bool + Copy,
) -> Result<Gathered, Failure> {
    let asked = opened.into_iter().map(async |Opened { name, server }| {
        let found = match &server {
            Ok(server) => whole(server, chosen, is_wanted).await,
            Err(failure) => Err(failure.clone()),
        };
        (name, found.and_then(|leases| Ok((server?, leases))))
    });
    let mut gathered = Gathered { servers: Vec::new(), leases: Vec::new(), errors: Vec::new(), tried: 0 };
    for (cluster, found) in join_all(asked).await {
        gathered.tried += 1;
        match found {
            Ok((server, leases)) => {
                gathered.servers.push(server);
                gathered.leases.extend(leases);
            }
            Err(failure) if !reach.is_many() => return Err(failure),
            Err(failure) => gathered.errors.push(Unreached { cluster, reason: failure.brief() }),
        }
    }
    Ok(gathered)
}

async fn whole(server: &Server, chosen: &Chosen<'_>, is_wanted: impl Fn(&Held) -> bool) -> Result<Vec<Held>, Failure> {
    let mut all = Vec::new();
    for namespace in &chosen.namespaces {
        let is_kept = |lease: &Held| chosen.has(lease, server.now()) && is_wanted(lease);
        all.extend(Pages::of(server, namespace.as_deref()).collected(is_kept).await?);
    }
    Ok(all)
}
