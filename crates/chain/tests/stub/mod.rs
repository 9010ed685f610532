//! A node of a few lines: reads one HTTP request a connection and answers what the test says.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

/// What came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) headers: String,
    pub(crate) body: Value,
}

impl Request {
    pub(crate) fn method(&self) -> &str {
        self.body["method"].as_str().unwrap()
    }
}

/// What goes out.
pub(crate) enum Reply {
    /// `{"result": …}` under the request's id.
    Result(Value),
    /// `{"error": …}` under the request's id.
    Error(i64, &'static str),
    /// These bytes as the body, whatever they are.
    Body(u16, Vec<u8>),
    /// A body without an announced length, so large.
    Endless(usize),
    /// Nothing; the connection stays open.
    Silence,
}

pub(crate) struct Stub {
    pub(crate) url: String,
    pub(crate) seen: Arc<Mutex<Vec<Request>>>,
}

impl Stub {
    pub(crate) fn start(mut answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        thread::spawn(move || {
            let mut kept_open = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let request = read(&mut stream);
                let reply = answer(&request);
                let id = request.body["id"].clone();
                record.lock().unwrap().push(request);
                match reply {
                    Reply::Result(result) => {
                        let body = serde_json::json!({"jsonrpc": "2.0", "id": id, "result": result});
                        write(&mut stream, 200, body.to_string().as_bytes());
                    }
                    Reply::Error(code, message) => {
                        let error = serde_json::json!({"code": code, "message": message});
                        let body = serde_json::json!({"jsonrpc": "2.0", "id": id, "error": error});
                        write(&mut stream, 200, body.to_string().as_bytes());
                    }
                    Reply::Body(status, body) => write(&mut stream, status, &body),
                    Reply::Endless(bytes) => {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
                        // The client hangs up in the middle; that is the point.
                        let _ = stream.write_all(&vec![b' '; bytes]);
                    }
                    Reply::Silence => kept_open.push(stream),
                }
            }
        });
        Self { url, seen }
    }
}

fn read(stream: &mut TcpStream) -> Request {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let n = stream.read(&mut buffer).unwrap();
        bytes.extend_from_slice(&buffer[..n]);
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let headers = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = headers.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap();
        let length: usize = length.trim().parse().unwrap();
        if bytes.len() >= end + 4 + length {
            let body = serde_json::from_slice(&bytes[end + 4..]).unwrap();
            return Request { headers, body };
        }
    }
}

fn write(stream: &mut TcpStream, status: u16, body: &[u8]) {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
}
