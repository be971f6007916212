//! The first bytes of a connection.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};

use muster_rendezvous::{Event, Options, Reservation, Server};

use crate::client::{Client, PING, Site, VALIDATE, localhost};

#[test]
fn the_opening_and_the_first_request_may_come_together() {
    let site = Site::new();
    let mut client = site.connect();
    client.send(&[VALIDATE, PING].concat());
    assert_eq!(client.read(4), PING[1..]);
}

#[test]
fn the_opening_may_come_in_pieces() {
    let site = Site::new();
    for cut in 1..VALIDATE.len() {
        let mut client = site.connect();
        client.send(&VALIDATE[..cut]);
        // That the server has read the piece cannot be seen; that it serves another client after it can.
        site.client().settled(b"");
        client.send(&VALIDATE[cut..]);
        client.settled(b"");
    }
}

#[test]
fn a_request_may_come_byte_by_byte() {
    let site = Site::new();
    let mut client = site.connect();
    for byte in [VALIDATE, PING].concat() {
        client.send(&[byte]);
    }
    assert_eq!(client.read(4), PING[1..]);
}

#[test]
fn whatever_is_not_torch_is_closed_at_once_and_told() {
    for said in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\x16\x03\x01\x02\x00", b"\0wxyz", PING] {
        let site = Site::new();
        let mut client = site.connect();
        client.send(said);
        client.end();
        let event = site.event();
        assert_eq!(event, Event::NotTorch { peer: localhost(), said: said.to_vec() });
        assert!(event.to_string().contains("MASTER_PORT"), "{event}");
        site.until("the refusal in the numbers", |stats| stats.refused == 1);
    }
}

#[test]
fn torch_before_2_2_is_refused_with_a_sentence_once() {
    let site = Site::new();
    // What 1.13 and 2.1 begin with: ADD of their table, and SET.
    for said in [&b"\x03\x05\0\0\0\0\0\0\0init/\x01\0\0\0\0\0\0\0"[..], b"\0\x02\0\0\0\0\0\0\0/k"] {
        let mut client = site.connect();
        client.send(said);
        client.end();
    }
    let event = site.event();
    assert_eq!(event, Event::OldTorch { peer: localhost() });
    assert!(event.to_string().contains("torch 2.2 or newer"), "{event}");
    site.until("the second refusal", |stats| stats.refused == 2);
    assert!(site.events.try_recv().is_err(), "each peer is told once");
}

#[test]
fn a_second_opening_closes() {
    let site = Site::new();
    let mut client = site.client();
    client.send(VALIDATE);
    client.end();
    assert_eq!(site.event(), Event::Malformed { peer: localhost() });
}

#[test]
fn newer_operations_close_and_are_told() {
    for opcode in [19, 255] {
        let site = Site::new();
        let mut client = site.client();
        client.settled(b"");
        client.send(&[opcode]);
        client.end();
        assert_eq!(site.event(), Event::UnknownOperation { peer: localhost(), opcode });
    }
}

#[test]
fn replies_to_what_came_before_a_mistake_are_sent() {
    let site = Site::new();
    let mut client = site.client();
    client.send(&[PING, &[200]].concat());
    assert_eq!(client.read(4), PING[1..]);
    client.end();
    site.client().settled(b"");
}

#[test]
fn clients_that_come_before_the_server_are_served_when_it_starts() {
    let reservation = Reservation::bind(None).expect("a free port");
    let mut early = Client::connect((localhost(), reservation.port()).into());
    early.send(&[VALIDATE, PING].concat());
    let server = Server::start(reservation, Options::default()).expect("a server");
    assert_eq!(early.read(4), PING[1..]);
    assert_eq!(server.stats().accepted, 1);
}

#[test]
fn clients_of_a_reservation_that_is_given_up_are_reset() {
    let reservation = Reservation::bind_loopback(None).expect("a free port");
    let mut early = Client::connect((localhost(), reservation.port()).into());
    drop(reservation);
    early.end();
}

#[test]
fn one_socket_serves_both_families() {
    let reservation = Reservation::bind(None).expect("a free port");
    let port = reservation.port();
    let server = Server::start(reservation, Options::default()).expect("a server");
    let mut addresses = vec![SocketAddr::new(localhost(), port)];
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        addresses.push(SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port));
    } else {
        eprintln!("skipped in part: this machine has no IPv6");
    }
    for address in addresses {
        let mut client = Client::connect(address);
        client.send(VALIDATE);
        client.settled(b"");
    }
    drop(server);
}

#[test]
fn a_port_is_nobody_elses_and_a_taken_one_is_left_alone() {
    let first = Reservation::bind(None).expect("a free port");
    let second = Reservation::bind(Some(first.port())).expect("another port");
    assert_ne!(first.port(), second.port());
    let port = first.port();
    drop(first);
    assert_eq!(Reservation::bind(Some(port)).expect("a free port").port(), port);
    let listener = TcpListener::bind((localhost(), 0)).expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let reservation = Reservation::try_from(listener).expect("it is a socket");
    let _server = Server::start(reservation, Options::default()).expect("a server");
    let mut client = Client::connect((localhost(), port).into());
    client.send(VALIDATE);
    client.settled(b"");
}
