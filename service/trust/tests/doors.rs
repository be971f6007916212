//! Real connections over loopback: who is let in, who is not, and who is held up by whom.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use muster_trust::{
    Authority, Dialler, Door, DoorLimits, Fingerprint, Identity, Incoming, KeyAndRequest, Subject,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::transport::server::Connected;

const HOUR: Duration = Duration::from_secs(3600);

fn authority(cluster: &str) -> Authority {
    Authority::create(cluster, SystemTime::now()).unwrap()
}

fn identity(authority: &Authority, subject: &Subject) -> Identity {
    identity_at(authority, subject, SystemTime::now())
}

fn identity_at(authority: &Authority, subject: &Subject, from: SystemTime) -> Identity {
    let asked = KeyAndRequest::new().unwrap();
    let signed = authority.issue(asked.request(), subject, (from, HOUR)).unwrap();
    asked.certified(&signed, authority.certificate(), authority.cluster()).unwrap()
}

fn member() -> Subject {
    Subject::Member { id: 1 }
}

fn agent() -> Subject {
    Subject::Agent { node: "n1".into(), agent: "a1".into() }
}

/// A door that is open as long as the second part lives.
struct Open {
    incoming: Incoming,
    _driven: JoinSet<std::convert::Infallible>,
}

impl std::ops::Deref for Open {
    type Target = Incoming;
    fn deref(&self) -> &Incoming {
        &self.incoming
    }
}

impl std::ops::DerefMut for Open {
    fn deref_mut(&mut self) -> &mut Incoming {
        &mut self.incoming
    }
}

async fn open(identity: Option<&Identity>, limits: DoorLimits) -> (SocketAddr, Open) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = match identity {
        Some(identity) => Door::tls(listener, identity, limits),
        None => Door::plain(listener, limits),
    };
    let (incoming, driven) = door.open();
    let mut set = JoinSet::new();
    set.spawn(driven);
    (address, Open { incoming, _driven: set })
}

/// Connects as gRPC would, and answers why not.
async fn dial(dialler: &Dialler, address: SocketAddr) -> Result<Channel, String> {
    let endpoint = dialler.endpoint(&address.to_string()).unwrap();
    let mut channel = dialler.channel(&endpoint.connect_timeout(Duration::from_secs(5)));
    let ready = std::future::poll_fn(|context| {
        tower_service::Service::<http::Request<tonic::body::Body>>::poll_ready(
            &mut channel,
            context,
        )
    });
    let said = |error: tonic::transport::Error| {
        let mut deepest: &dyn std::error::Error = &error;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        deepest.to_string()
    };
    match ready.await {
        // A channel that is lazy is ready first, and says what it met at the first request.
        Ok(()) => {
            let request = http::Request::new(tonic::body::Body::empty());
            let call = tower_service::Service::call(&mut channel, request);
            match tokio::time::timeout(Duration::from_millis(300), call).await {
                Ok(Err(error)) => Err(said(error)),
                _ => Ok(channel),
            }
        }
        Err(error) => Err(said(error)),
    }
}

#[tokio::test]
async fn each_side_knows_who_the_other_is() {
    let authority = authority("c");
    let (address, mut incoming) =
        open(Some(&identity(&authority, &member())), DoorLimits::grpc()).await;
    for (dialler, subject) in [
        (Dialler::with_identity(&identity(&authority, &agent())), Some(agent())),
        (Dialler::trusting(authority.certificate()), None),
        (Dialler::pinning(authority.certificate().fingerprint()), None),
    ] {
        let _channel = dial(&dialler, address).await.unwrap();
        let visitor = incoming.next().await.unwrap();
        assert_eq!((visitor.connect_info().subject, visitor.peer().is_tls), (subject, true));
    }
}

#[tokio::test]
async fn agents_answer_agents_and_nobody_takes_a_member_for_one() {
    let authority = authority("c");
    let own = identity(&authority, &agent());
    let to_agents = Dialler::with_identity(&own).to_agents();
    let (address, mut incoming) = open(Some(&own), DoorLimits::grpc()).await;
    let _channel = dial(&to_agents, address).await.unwrap();
    assert_eq!(incoming.next().await.unwrap().connect_info().subject, Some(agent()));
    let (of_member, _open) = open(Some(&identity(&authority, &member())), DoorLimits::grpc()).await;
    assert!(dial(&to_agents, of_member).await.is_err());
}

#[tokio::test]
async fn strangers_clusters_and_impostors_are_refused_by_either_side() {
    let (ours, theirs) = (authority("c"), authority("c"));
    let (address, incoming) = open(Some(&identity(&ours, &member())), DoorLimits::grpc()).await;
    let refused = |dialler: Dialler| async move { dial(&dialler, address).await.unwrap_err() };
    let other = refused(Dialler::with_identity(&identity(&theirs, &agent()))).await;
    assert!(other.contains("another cluster"), "{other}");
    let pinned = refused(Dialler::pinning(Fingerprint::of(b"x"))).await;
    assert!(pinned.contains("another cluster"), "{pinned}");
    // An agent's certificate does not make it a coordinator.
    let (impostor, _open) = open(Some(&identity(&ours, &agent())), DoorLimits::grpc()).await;
    let why = dial(&Dialler::trusting(ours.certificate()), impostor).await.unwrap_err();
    assert!(why.contains("no member"), "{why}");
    // A certificate that has ended, on either side.
    let past = SystemTime::now() - HOUR * 3;
    let (expired, _also) =
        open(Some(&identity_at(&ours, &member(), past)), DoorLimits::grpc()).await;
    let why = dial(&Dialler::trusting(ours.certificate()), expired).await.unwrap_err();
    assert!(why.contains("expired"), "{why}");
    let late = Dialler::with_identity(&identity_at(&ours, &agent(), past));
    let why = dial(&late, address).await.unwrap_err();
    assert!(why.contains("expired"), "{why}");
    // No TLS at all, from either side.
    let (plain, Open { incoming: unserved, _driven }) = open(None, DoorLimits::grpc()).await;
    drop(unserved);
    let why = dial(&Dialler::trusting(ours.certificate()), plain).await.unwrap_err();
    assert!(why.contains("no TLS"), "{why}");
    let counts = incoming.counts();
    assert!(counts.failed() >= 2, "{counts:?}");
}

#[tokio::test]
async fn a_certificate_of_another_cluster_with_the_same_authority_names_nobody_here() {
    let ours = authority("c");
    let text = (ours.certificate().pem(), ours.key_pem().to_owned());
    let theirs = Authority::from_pem("d", &text.0, &text.1).unwrap();
    let (address, incoming) = open(Some(&identity(&ours, &member())), DoorLimits::grpc()).await;
    let stranger = Dialler::with_identity(&identity(&theirs, &agent()));
    assert!(dial(&stranger, address).await.is_err());
    assert_eq!(incoming.counts().failed(), 1);
}

#[tokio::test]
async fn a_renewed_certificate_serves_new_connections_and_open_ones_go_on() {
    let authority = authority("c");
    let soon = identity_at(&authority, &member(), SystemTime::now() - HOUR * 2);
    assert_eq!(soon.renews_in(SystemTime::now()), Duration::ZERO);
    let (address, mut incoming) = open(Some(&soon), DoorLimits::grpc()).await;
    let dialler = Dialler::with_identity(&identity(&authority, &agent()));
    assert!(dial(&dialler, address).await.is_err(), "it has expired");
    let new = identity(&authority, &member());
    soon.replace(&new).unwrap();
    assert_eq!(soon.expires(), new.expires());
    let _first = dial(&dialler, address).await.unwrap();
    let mut visitor = incoming.next().await.unwrap();
    soon.replace(&identity(&authority, &member())).unwrap();
    let mut preface = [0; 24];
    visitor.read_exact(&mut preface).await.unwrap();
    assert!(preface.starts_with(b"PRI * HTTP/2.0"));
    let other = identity(&authority, &Subject::Member { id: 2 });
    assert!(soon.replace(&other).is_err(), "somebody else's certificate");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.pem");
    soon.store(&path).unwrap();
    assert_eq!(Identity::load(&path).unwrap().unwrap().subject(), &member());
}

#[tokio::test]
async fn silent_connections_hold_up_nobody_and_are_closed() {
    let authority = authority("c");
    let limits = DoorLimits {
        waiting: 2_000,
        strangers: 1,
        patience: Duration::from_secs(4),
        ..DoorLimits::grpc()
    };
    let (address, mut incoming) = open(Some(&identity(&authority, &member())), limits).await;
    let mut silent = Vec::new();
    for _ in 0..1_000 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let _agent =
        dial(&Dialler::with_identity(&identity(&authority, &agent())), address).await.unwrap();
    let proven = incoming.next().await.unwrap();
    // One stranger has room; the next has none, but whoever belongs to the cluster has.
    let trusting = Dialler::trusting(authority.certificate());
    let _stranger = dial(&trusting, address).await.unwrap();
    let stranger = incoming.next().await.unwrap();
    assert!(dial(&trusting, address).await.is_err());
    assert_eq!(incoming.counts().turned_away(), 1);
    let _second =
        dial(&Dialler::with_identity(&identity(&authority, &agent())), address).await.unwrap();
    drop((proven, stranger));
    // Whoever says nothing finds the door closed.
    let mut byte = [0];
    for mut one in silent {
        assert_eq!(one.read(&mut byte).await.unwrap_or(0), 0);
    }
    assert_eq!(incoming.counts().silent(), 1_000);
}

#[tokio::test]
async fn a_plain_door_waits_for_the_first_words_too() {
    let limits =
        DoorLimits { patience: Duration::from_millis(200), waiting: 1, ..DoorLimits::grpc() };
    let (address, mut incoming) = open(None, limits).await;
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"PRI * HT").await.unwrap();
    let mut byte = [0];
    assert_eq!(slow.read(&mut byte).await.unwrap_or(0), 0, "closed");
    let _channel = dial(&Dialler::plain(), address).await.unwrap();
    assert_eq!(incoming.next().await.unwrap().peer().subject, None);
}
