//! The queue as those see it that execute what is in it.

use super::*;
use crate::caller::{connect, in_one_thread, send};

const CLUSTER: ClusterId = ClusterId::new(7);

#[test]
fn sockets_are_looked_at_again_only_where_many_wait_and_somebody_may_still_ask() {
    in_one_thread(async {
        let identity = Identity {
            cluster: CLUSTER,
            node: NodeId::new(1),
            epoch: Epoch::NONE,
            primary: true,
        };
        let front = Front::new(identity, 16, Duration::from_secs(60), Arc::default());
        front.set_door(Door::Open);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::task::spawn_local(Rc::clone(&front).accept(listener));
        let mut clients = Vec::new();
        for _ in 0..=CROWD_REQUESTS {
            clients.push(connect(&address, CLUSTER).await);
        }
        let account = 5_u128.to_le_bytes();
        for (before, client) in clients.iter_mut().enumerate() {
            assert_eq!(front.may_bring_more(), before == CROWD_REQUESTS);
            send(client, FrameKind::LookupAccounts, 1, &account).await;
            while front.queued() <= before {
                front.arrived().await;
            }
        }
        assert!(!front.may_bring_more(), "every client waits");
    });
}
