use kanjo_format::control::Role;
use kanjo_format::{ClusterId, Incarnation, NodeId, OpeningId};
use kanjo_group::SiteReport;
use kanjo_group::register::{Move, Nominee};

use super::*;

const ME: SetMember = SetMember {
    node: NodeId::new(1),
    incarnation: Incarnation::new(11),
};

fn report(site: Site) -> SiteReport {
    SiteReport {
        register: Register::new(ClusterId::new(7), site),
        leader: Some(NodeId::new(9)),
        voters: Vec::new(),
        servers: Vec::new(),
        elections: 1,
    }
}

fn view(site: Site, nominated: bool) -> View {
    let mut own = report(site);
    own.register.nominee = nominated.then_some(Nominee {
        node: ME.node,
        incarnation: ME.incarnation,
        number: 1,
    });
    View {
        own: Some(own),
        other: Some((report(site.other()), Instant::now())),
        third: None,
    }
}

#[test]
fn only_the_nominee_of_the_active_site_opens_by_itself() {
    let now = Instant::now();
    let open = Decision::Open(WasRead {
        authority: Site::Two,
        epoch: Epoch::NONE,
        active: Site::One,
        third: None,
        given_away: false,
    });
    assert_eq!(
        decide(&view(Site::One, true), ME, Site::One, Told::No, now),
        open
    );
    assert_ne!(
        decide(&view(Site::One, false), ME, Site::One, Told::No, now),
        open
    );
    let auxiliary = view(Site::Two, true);
    assert_ne!(decide(&auxiliary, ME, Site::Two, Told::No, now), open);
    assert_eq!(decide(&auxiliary, ME, Site::Two, Told::Lost, now), open);
}

#[test]
fn a_site_takes_over_only_where_the_third_witness_may_let_it() {
    let mut third = Third::new(ClusterId::new(7), Incarnation::new(20));
    let mut view = view(Site::Two, true);
    view.own.as_mut().unwrap().register.reign.third = Some(third.mark);
    let now = Instant::now();
    let opens = |view: &View| match decide(view, ME, Site::Two, Told::Lost, now) {
        Decision::Open(_) => Ok(()),
        Decision::Follow(why) => Err(why),
        other => panic!("{other:?}"),
    };
    let heard = |third: &Third, at| View {
        third: Some((third.clone(), at)),
        ..view.clone()
    };
    assert!(opens(&view).unwrap_err().contains("not heard"));
    assert_eq!(opens(&heard(&third, now)), Ok(()));
    let long_ago = now.checked_sub(FRESH).unwrap();
    assert!(opens(&heard(&third, long_ago)).is_err());
    let follows = third.mark;
    let mut passed = third.clone();
    third.decide(follows, Site::Two).unwrap();
    assert_eq!(opens(&heard(&third, now)), Ok(()), "its own word, unused");
    passed.decide(follows, Site::One).unwrap();
    assert!(
        opens(&heard(&passed, now))
            .unwrap_err()
            .contains("other site")
    );
    let opens_so = |view: &View, told| {
        let decision = decide(view, ME, Site::Two, told, now);
        matches!(decision, Decision::Open(_))
    };
    assert!(opens_so(&view, Told::WithoutWord), "an operator's word");
    let said_no = heard(&passed, now);
    assert!(!opens_so(&said_no, Told::WithoutWord));
    assert!(opens_so(&said_no, Told::AgainstWord));
    let new = Third::new(ClusterId::new(7), Incarnation::new(21));
    assert!(opens(&heard(&new, now)).unwrap_err().contains("lost"));
}

/// The switch had passed its point of no return when the other site was lost.
#[test]
fn what_was_handed_over_to_a_lost_site_is_taken_back_only_by_an_operator() {
    let now = Instant::now();
    let mut view = view(Site::Two, true);
    let source = &mut view.own.as_mut().unwrap().register;
    source.authority = Authority::HandedOver(Box::new(HandOver {
        cluster: ClusterId::new(7),
        from: Site::Two,
        holding: 2,
        plan: Move {
            epoch: Epoch::from_terms(1, 1),
            number: 1,
            opening: OpeningId::default(),
            set: vec![ME],
            active: Site::Two,
        },
        reign: source.reign.clone(),
    }));
    let decide = |view: &View, told| decide(view, ME, Site::Two, told, now);
    let heard = decide(&view, Told::AgainstWord);
    assert!(matches!(heard, Decision::Carry { .. }), "{heard:?}");
    view.other = None;
    for told in [Told::No, Told::Lost, Told::WithoutWord] {
        let decision = decide(&view, told);
        assert!(matches!(decision, Decision::Follow(why) if why.contains("lost for good")));
    }
    assert!(matches!(
        decide(&view, Told::AgainstWord),
        Decision::Open(read) if read.given_away && read.authority == Site::Two
    ));
}

/// It stood still while another server was nominated and opened; its own voter has not heard yet.
#[test]
fn a_server_that_was_fenced_opens_nothing_on_what_is_older() {
    let (first, second) = (Epoch::from_terms(1, 1), Epoch::from_terms(1, 2));
    let mut control = Control::fresh(
        ClusterId::new(7),
        (ME.node, ME.incarnation),
        Site::One,
        Role::Replica,
        1 << 21,
    );
    control.granted_epoch = first;
    control.granted_opening.node = ME.node;
    assert!(!knows_later(&control, first), "its own");
    control.peer_granted_epoch = second;
    assert!(knows_later(&control, first), "fenced");
    assert!(!knows_later(&control, second));
    control.peer_granted_epoch = Epoch::NONE;
    control.granted_epoch = second;
    control.granted_opening.node = NodeId::new(2);
    assert!(knows_later(&control, first), "granted to another one");
    assert!(!knows_later(&control, Epoch::NONE), "a wiped register");
}

#[test]
fn without_a_majority_or_the_authority_nobody_opens() {
    let now = Instant::now();
    let mut minority = view(Site::One, true);
    minority.own.as_mut().unwrap().leader = None;
    assert!(matches!(
        decide(&minority, ME, Site::One, Told::No, now),
        Decision::Follow(why) if why.contains("majority")
    ));
    let mut cut_off = view(Site::One, true);
    cut_off.other = None;
    assert!(matches!(
        decide(&cut_off, ME, Site::One, Told::Lost, now),
        Decision::Follow(why) if why.contains("authority")
    ));
    // A stale report is as good as none.
    let stale = view(Site::One, true);
    let later = now + FRESH + Duration::from_secs(1);
    assert!(matches!(
        decide(&stale, ME, Site::One, Told::No, later),
        Decision::Follow(_)
    ));
}
