//! A web server on loopback: what `include: remote` and `JOBPASS_URL` fetch.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::harness::doors;

/// The server of one scenario; it ends with it.
pub(super) struct Web {
    address: SocketAddr,
    closed: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Web {
    /// Answers with these files, each by its path, and with 404.
    pub(super) fn start(files: Vec<(&'static str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let closed = Arc::new(AtomicBool::new(false));
        let of_thread = closed.clone();
        let server = std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if of_thread.load(Ordering::Relaxed) {
                    return;
                }
                // A client that goes away has failed, and says so itself.
                let _ = answer(&client, &files);
            }
        });
        Self { address, closed, server: Some(server) }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Web {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        doors::knock(self.address);
        let _ = self.server.take().expect("it is there").join();
    }
}

fn answer(mut client: &TcpStream, files: &[(&'static str, Vec<u8>)]) -> std::io::Result<()> {
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    client.set_write_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(client).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = first.split(' ').nth(1).unwrap_or_default();
    let (status, body) = files.iter().find(|(known, _)| *known == path).map_or(("404 Not Found", &[][..]), |(_, body)| ("200 OK", body));
    write!(client, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())?;
    client.write_all(body)
}
