//! A rendezvous store alone, for tests and benchmarks: `serve [--port N] [--shared-inits] [--world-size N]`.
//!
//! It prints its port, and the seconds that it took to make the server, on the first line of stdout and what users must
//! hear on stderr, and serves until it is ended.

use std::error::Error;
use std::io::{Read, Write, stdin, stdout};
use std::time::Instant;

use muster_rendezvous::{Options, Reservation, Server};

fn main() -> Result<(), Box<dyn Error>> {
    let mut options =
        Options { events: Some(Box::new(|event| eprintln!("{event}"))), ..Options::default() };
    let mut port = None;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a number"));
        match argument.as_str() {
            "--port" => port = Some(value()?.parse()?),
            "--world-size" => options.world_size = Some(value()?.parse()?),
            "--shared-inits" => options.separate_inits = false,
            other => return Err(format!("{other} is not known").into()),
        }
    }
    let begin = Instant::now();
    let server = Server::start(Reservation::bind(port)?, options)?;
    println!("{} {:.6}", server.port(), begin.elapsed().as_secs_f64());
    stdout().flush()?;
    // Until whoever started it goes away.
    stdin().read_to_end(&mut Vec::new())?;
    server.close();
    Ok(())
}
