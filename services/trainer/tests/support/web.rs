//! A web server that serves one file once.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;

/// The file's URL, and the network to allow for it.
pub(crate) fn serve_once(file: Vec<u8>) -> (String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let request = BufReader::new(stream.try_clone().unwrap());
        request.lines().map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", file.len()).unwrap();
        stream.write_all(&file).unwrap();
    });
    (format!("http://{address}/weights.safetensors"), format!("127.0.0.1/32:{}", address.port()))
}
