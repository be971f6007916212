//! The ports that rank 0's shim holds.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use muster_model::{EnvTemplate, ExitStatus, Template, Variable};

use crate::lab::Lab;
use crate::replica::{at_rank, container, opening, replica, script};

/// A c10d client's first words: VALIDATE with its magic number, and PING with a number.
fn greet(port: u16) -> std::io::Result<[u8; 4]> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(crate::traces::PATIENCE))?;
    stream.write_all(&[0x00, 0xce, 0xf7, 0x85, 0x3c, 0x0d, 1, 2, 3, 4])?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_answers_from_the_opening_of_the_generation_to_the_end_of_the_replica() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let mut spec = at_rank(replica(&lab.job, script("main", "sleep 1000")), 0);
    spec.holds_store = true;
    node.runtime.prepare(spec.clone());
    let (store, free) = node.ready(&spec).await;
    let (store, free) = (store.unwrap(), free.unwrap());
    assert_ne!(store, free);
    assert!(TcpListener::bind(("0.0.0.0", store)).is_err());
    assert!(TcpListener::bind(("0.0.0.0", free)).is_err());
    assert!(TcpStream::connect(("127.0.0.1", free)).is_err(), "the free port is not listened on");
    // Who is early waits and is answered when the generation opens.
    let early = std::thread::spawn(move || greet(store));
    let mut context = opening(&spec);
    (context.store_port, context.free_port) = (Some(store), Some(free));
    node.runtime.start(spec.id, spec.fence, context);
    node.running(&spec).await;
    assert_eq!(early.join().unwrap().unwrap(), [1, 2, 3, 4]);
    assert_eq!(greet(store).unwrap(), [1, 2, 3, 4]);
    let mut waiting = TcpStream::connect(("127.0.0.1", store)).unwrap();
    waiting.set_read_timeout(Some(crate::traces::PATIENCE)).unwrap();
    waiting.write_all(&[0x00, 0xce, 0xf7, 0x85, 0x3c]).unwrap();

    node.stop(&spec, 5000);
    node.exit(&spec).await;
    // Closed, and not left hanging.
    let mut byte = [0];
    assert!(!matches!(waiting.read(&mut byte), Ok(1..)));
    assert!(greet(store).is_err());
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_can_bind_the_free_port() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let text = "import os, socket
s = socket.socket()
s.bind(('0.0.0.0', int(os.environ['MASTER_PORT'])))
s.listen()
print('bound', s.getsockname()[1] == int(os.environ['MASTER_PORT']))";
    let mut spec = at_rank(replica(&lab.job, container("main", &["python3", "-c", text])), 0);
    spec.role.env = vec![EnvTemplate {
        name: "MASTER_PORT".into(),
        value: Template::hole(Variable::FreePort),
        user_wins: false,
    }];
    node.runtime.prepare(spec.clone());
    let (store, free) = node.ready(&spec).await;
    assert_eq!(store, None, "this gang has no store");
    let mut context = opening(&spec);
    context.free_port = free;
    node.runtime.start(spec.id, spec.fence, context);
    assert_eq!(node.exit(&spec).await.status, ExitStatus::Code(0));
    assert_eq!(node.output(&spec).await, "bound True\n");
    node.finish(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_at_the_store_are_told_of() {
    let lab = Lab::new();
    let mut node = lab.open().await;
    let mut spec = at_rank(replica(&lab.job, script("main", "sleep 1000")), 0);
    spec.holds_store = true;
    node.start(&spec).await;
    let (store, _) = node.ready(&spec).await;
    let mut stranger = TcpStream::connect(("127.0.0.1", store.unwrap())).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let notice = node.notice(&spec).await;
    assert!(notice.contains("GET /"), "{notice}");
    node.stop(&spec, 0);
    node.exit(&spec).await;
    node.finish(&lab).await;
}
