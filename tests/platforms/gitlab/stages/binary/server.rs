//! A small HTTP server on loopback for files, which remembers what it was asked for. Its TLS is left out.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::harness::doors;

/// The server of one scenario.
pub(super) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    is_over: Arc<AtomicBool>,
}

impl Server {
    /// Serves these texts by their names.
    pub(super) fn of(files: &[(&str, String)]) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback");
        let address = listener.local_addr().expect("a bound socket has an address");
        let files: Vec<_> = files.iter().map(|(name, text)| ((*name).to_owned(), text.clone())).collect();
        let server = Self { address, asked: Arc::default(), is_over: Arc::default() };
        let (asked, is_over) = (server.asked.clone(), server.is_over.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if is_over.load(Ordering::SeqCst) {
                    return;
                }
                let _ = answer(&stream, &files, &asked);
            }
        });
        server
    }

    pub(super) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// What it was asked for, in order.
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("sound").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        doors::knock(self.address);
    }
}

fn answer(stream: &TcpStream, files: &[(String, String)], asked: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    // The headers do not matter, but who sends them wants them read.
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let name = first.split(' ').nth(1).unwrap_or_default().trim_start_matches('/').to_owned();
    let found = files.iter().find(|(known, _)| *known == name);
    asked.lock().expect("sound").push(name);
    let (status, body) = found.map_or(("404 Not Found", ""), |(_, text)| ("200 OK", text.as_str()));
    write!(&mut { stream }, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}
