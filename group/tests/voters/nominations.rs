//! A living server is nominated, soon, and stays.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use kanjo_format::NodeId;
use kanjo_group::{Beat, SetMember, SiteReport};
use serde_json::{Value, json};

use crate::harness::*;

fn nominates(member: SetMember) -> impl Fn(&SiteReport) -> bool {
    move |own| {
        own.register
            .nominee
            .is_some_and(|n| (n.node, n.incarnation) == (member.node, member.incarnation))
    }
}

#[tokio::test]
async fn the_other_server_is_nominated_when_a_server_dies() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 2, 9]);
    assert_eq!(cluster.led(2).await, NodeId::new(9));
    let one = cluster.member(1);
    cluster.tell(1, 5);
    cluster.own(9, "1 is nominated", nominates(one)).await;
    cluster.tell(2, 4);
    let heard = |own: &SiteReport| own.servers.len() == 2;
    let report = cluster.own(9, "both are heard", heard).await;
    assert!(nominates(one)(&report), "a living nominee stays");
    let killed = Instant::now();
    cluster.stop(1);
    let two = cluster.member(2);
    let report = cluster.own(2, "2 is nominated", nominates(two)).await;
    println!(
        "note: 2 knows its nomination {:?} after 1 began to stop",
        killed.elapsed()
    );
    assert_eq!(report.register.nominee.unwrap().number, 2);
    // It comes back with more log, and is not nominated again.
    cluster.start(&[1]);
    cluster.tell(1, 9);
    let connected = |own: &SiteReport| {
        let seen = own.servers.iter().find(|s| s.beat.member == one);
        seen.is_some_and(|seen| seen.connected && seen.beat.tail.lsn.get() == 9)
    };
    let report = cluster.own(9, "1 is back", connected).await;
    assert!(nominates(two)(&report));
}

#[tokio::test]
async fn the_death_of_a_server_that_leads_the_register_nominates_the_other_one() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 2, 9]);
    cluster.led(1).await;
    // A server comes to lead.
    cluster.stop(9);
    let follows = |own: &SiteReport| own.leader.is_some_and(|l| l != NodeId::new(9));
    let leader = cluster
        .own(1, "a server leads", follows)
        .await
        .leader
        .unwrap();
    cluster.start(&[9]);
    let (dies, lives) = if leader == NodeId::new(1) {
        (1, 2)
    } else {
        (2, 1)
    };
    cluster.tell(dies, 5);
    let nominee = cluster.member(dies);
    cluster
        .own(lives, "it is nominated", nominates(nominee))
        .await;
    cluster.tell(lives, 5);
    let all = |own: &SiteReport| own.voters.iter().all(|v| v.answers) && own.servers.len() == 2;
    cluster.own(9, "all are there", all).await;
    let killed = Instant::now();
    cluster.stop(dies);
    let successor = cluster.member(lives);
    cluster
        .own(lives, "the other one is nominated", nominates(successor))
        .await;
    println!(
        "note: nominated {:?} after the server that also led the register began to stop",
        killed.elapsed()
    );
}

#[tokio::test]
async fn an_unfit_server_is_not_nominated() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 2, 9]);
    let unfit = Beat {
        fit: false,
        ..cluster.beat(1, 99)
    };
    cluster.port(1).tell(unfit.clone());
    cluster.tell(2, 1);
    let (one, two) = (cluster.member(1), cluster.member(2));
    cluster.own(1, "2 is nominated", nominates(two)).await;
    // The nominee becomes unfit while the other one is well again.
    cluster.tell(1, 99);
    let fit = |own: &SiteReport| own.servers.iter().filter(|s| s.beat.fit).count() == 2;
    cluster.own(9, "both are fit", fit).await;
    let unfit = Beat {
        fit: false,
        ..cluster.beat(2, 1)
    };
    cluster.port(2).tell(unfit);
    cluster.own(1, "1 is nominated", nominates(one)).await;
}

/// Beats as they stand in a capture, from a process that keeps its connection and says nothing
/// any more: stopped, or stuck.
#[tokio::test]
async fn a_silent_server_is_replaced_though_its_connection_stands() {
    let mut cluster = Cluster::new();
    cluster.start(&[1, 2, 9]);
    cluster.led(9).await;
    let mut one = RawServer::connect(&cluster, 1);
    one.beat(&cluster.beat(1, 5));
    cluster
        .own(2, "1 is nominated", nominates(cluster.member(1)))
        .await;
    cluster.tell(2, 4);
    cluster
        .own(9, "both are heard", |own| own.servers.len() == 2)
        .await;
    one.beat(&cluster.beat(1, 5));
    let silent = Instant::now();
    cluster
        .own(2, "2 is nominated", nominates(cluster.member(2)))
        .await;
    let after = silent.elapsed();
    println!("note: nominated {after:?} after the other server's last beat");
    let silent_ms = cluster.topology.timing.silent_ms;
    assert!(after >= Duration::from_millis(silent_ms - 50));
    one.beat(&cluster.beat(1, 5));
}

struct RawServer(TcpStream, u64);

impl RawServer {
    fn connect(cluster: &Cluster, node: u32) -> Self {
        let stream = TcpStream::connect(&cluster.topology.witnesses[0].register).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut server = Self(stream, 0);
        let member = cluster.member(node);
        let greeting = server.exchange(&json!({
            "protocol": "kanjo-register", "version": 1, "cluster": cluster.cluster, "register": 1,
            "purpose": "beat", "to": null,
            "from": { "site": 1, "node": member.node, "incarnation": member.incarnation },
        }));
        assert_eq!(greeting["greeting"], "welcome", "{greeting}");
        server
    }

    fn beat(&mut self, beat: &Beat) {
        self.1 += 1;
        let id = self.1;
        let answer =
            self.exchange(&json!({ "id": id, "body": { "request": "beat", "beat": beat } }));
        assert_eq!(answer, json!({ "id": id, "body": { "answer": "noted" } }));
    }

    fn exchange(&mut self, frame: &Value) -> Value {
        let body = frame.to_string().into_bytes();
        let length = u32::try_from(body.len()).unwrap();
        self.0.write_all(&length.to_le_bytes()).unwrap();
        self.0.write_all(&body).unwrap();
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut body = vec![0; u32::from_le_bytes(length) as usize];
        self.0.read_exact(&mut body).unwrap();
        serde_json::from_slice(&body).unwrap()
    }
}
