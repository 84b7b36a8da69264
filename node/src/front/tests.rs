//! The queue as those see it that execute what is in it.

use tokio::io::AsyncWriteExt;

use super::*;

const CLUSTER: ClusterId = ClusterId::new(7);

fn frame(kind: FrameKind, count: u32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Frame {
        kind,
        outcome: Outcome::Done,
        request: 1,
        deadline_ms: 0,
        count,
        body,
    }
    .encode(&mut out);
    out
}

/// So many clients that have said hello, on a front that is open.
async fn clients(front: &Rc<Front>, count: usize) -> Vec<TcpStream> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::task::spawn_local(Rc::clone(front).accept(listener));
    front.set_door(Door::Open);
    let hello = HelloBody {
        cluster: CLUSTER.get().into(),
        version_min: CLIENT_VERSION_MIN.into(),
        version_max: CLIENT_VERSION.into(),
        reserved: 0.into(),
    };
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = TcpStream::connect(address).await.unwrap();
        let hello = frame(FrameKind::Hello, 0, hello.as_bytes());
        client.write_all(&hello).await.unwrap();
        crate::server::read_frame(&mut client).await.unwrap();
        clients.push(client);
    }
    clients
}

#[test]
fn sockets_are_looked_at_again_only_where_many_wait_and_somebody_may_still_ask() {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let identity = Identity {
            cluster: CLUSTER,
            node: NodeId::new(1),
            epoch: Epoch::NONE,
            primary: true,
        };
        let patience = Duration::from_secs(60);
        let front = Front::new(identity, 16, patience, Arc::default());
        let ask = frame(
            FrameKind::LookupAccounts,
            1,
            5_u128.to_le_bytes().as_slice(),
        );
        let mut clients = clients(&front, CROWD_REQUESTS + 1).await;
        for (before, client) in clients.iter_mut().enumerate() {
            assert_eq!(front.may_bring_more(), before == CROWD_REQUESTS);
            client.write_all(&ask).await.unwrap();
            while front.queued() <= before {
                front.arrived().await;
            }
        }
        assert!(!front.may_bring_more(), "every client waits");
    });
}
