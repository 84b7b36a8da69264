//! The searches, and where each mistake is looked for.

use kanjo_group::register::Authority;

use crate::actions::Action;
use crate::mistakes::Mistake;
use crate::properties::{ATTACHED, FAILOVER, FIRST, LOCAL, SEIZED, SWITCH};
use crate::state::{Servers, State};
use crate::world::{Bounds, Care, Scene, World};

const A1: usize = 0;
const A2: usize = 1;
const B1: usize = 2;
const B2: usize = 3;

const TRIO: Scene = Scene {
    name: "a writer and two members",
    servers: Servers::of(A1).with(B1).with(B2),
    bounds: Bounds {
        openings: 1,
        entries: 1,
        crashes: 1,
        changes: 1,
        ..Bounds::NOTHING
    },
    alone: true,
    care: Care::Free,
    third: false,
    start: |world, state| serving(world, state, &[B1, B2]),
    goals: &[FIRST, FAILOVER],
};

/// Only B1 is in the set.
const HALF: Scene = Scene {
    name: "a writer, a member, and one that might become one",
    start: |world, state| serving(world, state, &[B1]),
    ..TRIO
};

const HOUSE: Scene = Scene {
    name: "two servers of the active site",
    servers: Servers::of(A1).with(A2).with(B1),
    goals: &[FIRST, LOCAL],
    ..HALF
};

/// The authority moves: by a planned switch, and back to a site that was attached again.
const MOVES: Scene = Scene {
    name: "the authority moves",
    servers: Servers::of(A1).with(A2).with(B1),
    bounds: Bounds {
        openings: 1,
        entries: 1,
        moves: 2,
        ..Bounds::NOTHING
    },
    alone: true,
    care: Care::Free,
    third: false,
    start: |world, state| serving(world, state, &[B1]),
    goals: &[FIRST, LOCAL, FAILOVER, SWITCH, ATTACHED],
};

const OPERATOR_IN_SHORT: Scene = Scene {
    bounds: Bounds {
        openings: 2,
        offs: 1,
        ..Bounds::NOTHING
    },
    ..OPERATOR
};

/// With a witness in a third site, which may be asked at any time.
const THIRD: Scene = Scene {
    name: "a third site's witness lets the authority be seized",
    care: Care::Afresh,
    third: true,
    bounds: Bounds {
        openings: 2,
        entries: 1,
        crashes: 1,
        ..Bounds::NOTHING
    },
    goals: &[FIRST, LOCAL, FAILOVER, SEIZED],
    ..HOUSE
};

/// The same, and the authority moves by plan, which the third witness is not asked about.
const THIRD_AND_MOVES: Scene = Scene {
    name: "a third site's witness, and the authority moves by plan",
    bounds: Bounds {
        openings: 2,
        entries: 1,
        moves: 1,
        ..Bounds::NOTHING
    },
    goals: &[FIRST, LOCAL, FAILOVER, SEIZED, SWITCH],
    ..THIRD
};

/// The same, if a writer only looks whether its nomination still stands.
const THIRD_BY_NOMINEE: Scene = Scene {
    care: Care::Nominee,
    bounds: Bounds {
        openings: 1,
        nominations: 1,
        ..Bounds::NOTHING
    },
    ..THIRD
};

const MOVES_AND_MORE: Scene = Scene {
    bounds: Bounds {
        openings: 2,
        changes: 1,
        moves: 1,
        ..Bounds::NOTHING
    },
    ..MOVES
};

/// An operator has site 2 off, and A1 or A2 goes on alone.
const OPERATOR: Scene = Scene {
    name: "an operator has the other site off",
    bounds: Bounds {
        openings: 2,
        entries: 1,
        crashes: 1,
        nominations: 1,
        offs: 1,
        ..Bounds::NOTHING
    },
    goals: &[FIRST, SEIZED],
    ..HOUSE
};

pub(crate) fn searched() -> Vec<Scene> {
    vec![
        with_entries(TRIO, 3),
        with_entries(with_changes(HALF, 2), 3),
        with_entries(HOUSE, 3),
        MOVES,
        OPERATOR,
        THIRD,
        THIRD_AND_MOVES,
    ]
}

pub(crate) fn nominee() -> Scene {
    THIRD_BY_NOMINEE
}

pub(crate) fn mistaken() -> Vec<(Mistake, Scene)> {
    vec![
        (Mistake::AckBeforeShrink, TRIO),
        (Mistake::SetGrownFirst, HALF),
        (Mistake::BaseOutsideSet, HOUSE),
        (Mistake::AnyOneMember, TRIO),
        (Mistake::EpochNotDurable, HOUSE),
        (Mistake::OffIsEnough, OPERATOR_IN_SHORT),
        (Mistake::BackTooEarly, OPERATOR_IN_SHORT),
        (Mistake::TakesOverUnasked, THIRD),
        (Mistake::TwoOpenings, with_openings(HOUSE, 2)),
        (Mistake::NoPointOfNoReturn, MOVES_AND_MORE),
        (Mistake::LateChange, with_changes(HALF, 2)),
        (Mistake::TakenInWithoutBase, with_openings(HALF, 2)),
    ]
}

const fn with_changes(mut scene: Scene, changes: u8) -> Scene {
    scene.bounds.changes = changes;
    scene
}

const fn with_entries(mut scene: Scene, entries: u8) -> Scene {
    scene.bounds.entries = entries;
    scene
}

const fn with_openings(mut scene: Scene, openings: u8) -> Scene {
    scene.bounds.openings = openings;
    scene
}

/// A1 has opened the first epoch, and commits wait for these members.
fn serving(world: &World, mut state: State, members: &[usize]) -> State {
    let left = state.left;
    let plenty = 100;
    state.left = Bounds {
        openings: plenty,
        entries: plenty,
        crashes: plenty,
        changes: plenty,
        moves: plenty,
        nominations: plenty,
        offs: plenty,
    };
    let (server, at) = (A1, 1);
    for nominee in [A1, B1] {
        take(world, &mut state, Action::Nominate(nominee));
    }
    take(world, &mut state, Action::Begin { server, at });
    if world.scene.care != Care::Free {
        take(world, &mut state, Action::Confirm(server));
    }
    if world.scene.third {
        let heard = true;
        take(world, &mut state, Action::AskThird { server, heard });
    }
    settle(world, &mut state, A1);
    take(world, &mut state, Action::Open(A1));
    for follower in members.iter().copied() {
        let writer = A1;
        take(world, &mut state, Action::Ship { writer, follower });
        take(world, &mut state, Action::TakeIn { writer, follower });
        settle(world, &mut state, A1);
    }
    take(world, &mut state, Action::Commit(A1));
    assert!(matches!(
        state.registers[1].authority,
        Authority::Held { .. }
    ));
    assert_eq!(state.answered.len(), 1, "the first epoch has begun");
    state.letters.clear();
    state.left = left;
    state
}

fn take(world: &World, state: &mut State, action: Action) {
    world.carry_out(state, &action);
}

/// What was asked is carried out, and its answer heard.
fn settle(world: &World, state: &mut State, server: usize) {
    let ask = state.servers[server]
        .ask
        .as_ref()
        .expect("something was asked");
    let letter = ask.letter.clone();
    take(world, state, Action::Deliver(letter));
    take(world, state, Action::Hear(server));
}
