//! What is searched: who takes part, how much may happen, what is broken on purpose.

use stateright::{Model, Property};

use crate::actions::Action;
use crate::mistakes::Mistake;
use crate::properties;
use crate::state::{Servers, State};

/// How much may happen beside what messages do, which have no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Bounds {
    /// Epochs that somebody begins to open.
    pub(crate) openings: u8,
    /// Entries of clients.
    pub(crate) entries: u8,
    /// Crashes of one server each.
    pub(crate) crashes: u8,
    /// Changes that writers make to their sets.
    pub(crate) changes: u8,
    /// Moves of the authority that writers plan.
    pub(crate) moves: u8,
    /// Times that the leader of a site's register chooses who is to process.
    pub(crate) nominations: u8,
    /// Times that an operator has a whole site off.
    pub(crate) offs: u8,
}

impl Bounds {
    pub(crate) const NOTHING: Self = Self {
        openings: 0,
        entries: 0,
        crashes: 0,
        changes: 0,
        moves: 0,
        nominations: 0,
        offs: 0,
    };
}

/// How an opener and a seizing writer look at nominations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Care {
    /// Not at all.
    Free,
    /// Only the nominee opens, and seizes while the nomination is the one that it opened under.
    Nominee,
    /// An opener reads the authority's register first, then nominates itself anew in its own
    /// one, which must not hold the authority itself, and then claims; and a register carries out
    /// only the seizure of who was nominated last.
    Afresh,
}

/// One search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene {
    pub(crate) name: &'static str,
    pub(crate) servers: Servers,
    pub(crate) bounds: Bounds,
    /// Whether a writer whose set is itself answers alone, as by an operator's word.
    pub(crate) alone: bool,
    pub(crate) care: Care,
    /// Whether a third site has a witness, which is asked before the authority is seized; else
    /// an operator must have the other site off.
    pub(crate) third: bool,
    /// Steps that lead from a fresh cluster to where the search begins; they count for nothing,
    /// and no command of theirs comes late.
    pub(crate) start: fn(&World, State) -> State,
    /// What must be reachable, so that the search is worth something.
    pub(crate) goals: &'static [&'static str],
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct World {
    pub(crate) scene: Scene,
    pub(crate) mistake: Option<Mistake>,
}

impl World {
    pub(crate) fn has(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }
}

impl Model for World {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![(self.scene.start)(self, State::fresh(self.scene.bounds))]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !state.disagreed {
            self.possible(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.carry_out(&mut state, &action);
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self.scene.goals)
    }
}
