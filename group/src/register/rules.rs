//! How the record changes. One function a command; each either changes it whole or refuses.

use kanjo_format::limits::SET_MEMBERS_MAX;
use kanjo_format::{Epoch, OpeningId};

use super::*;

impl Register {
    /// Applies a command. The same command twice changes nothing the second time.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        let applied = match command {
            Command::Nominate {
                replaces,
                node,
                incarnation,
            } => self.nominate(*replaces, *node, *incarnation),
            Command::Claim { expected, reign } => self.claim(*expected, reign),
            Command::ChangeSet {
                epoch,
                opening,
                follows,
                expected,
                set,
                protection,
            } => self.change_set((*epoch, *opening), (*follows, expected), set, protection),
            Command::NoteFence(certificate) => self.note_fence(certificate),
            Command::Prepare { plan } => self.prepare(plan),
            Command::HandOver { plan } => self.hand_over(plan),
            Command::Activate(certificate) => self.activate(certificate),
            Command::Seize {
                follows,
                nomination,
                reign,
                set,
                evidence,
            } => self.seize((*follows, *nomination), reign, set, evidence),
            Command::Insist { follows, evidence } => self.insist(*follows, evidence),
            Command::Concede { holding } => self.concede(*holding),
        };
        match applied {
            Ok(changed) => {
                self.version += u64::from(changed);
                Outcome::Done(Box::new(self.clone()))
            }
            Err(why) => Outcome::Refused {
                why,
                register: Box::new(self.clone()),
            },
        }
    }

    fn nominate(
        &mut self,
        replaces: u64,
        node: NodeId,
        incarnation: Incarnation,
    ) -> Result<bool, Refusal> {
        let current = self.nominee.map_or(0, |nominee| nominee.number);
        let refused = Refusal::Nomination {
            current,
            named: replaces,
        };
        let Some(number) = replaces.checked_add(1) else {
            return Err(refused);
        };
        let new = Nominee {
            node,
            incarnation,
            number,
        };
        if self.nominee == Some(new) {
            return Ok(false);
        }
        if replaces != current {
            return Err(refused);
        }
        self.nominee = Some(new);
        Ok(true)
    }

    fn claim(&mut self, expected: Epoch, reign: &Reign) -> Result<bool, Refusal> {
        self.check_held()?;
        check_text(&reign.address)?;
        if self.reign.is(reign.epoch, reign.opening) {
            return Ok(false);
        }
        let current = self.reign.epoch;
        if current != expected || reign.epoch <= current {
            let named = reign.epoch;
            return Err(Refusal::Epoch { current, named });
        }
        let site = if reign.epoch.may_be_opened_by(Site::One) {
            Site::One
        } else {
            Site::Two
        };
        if !reign.epoch.may_be_opened_by(site) {
            return Err(Refusal::NotItsEpoch(reign.epoch));
        }
        self.reign = reign.clone();
        self.active = site;
        // Who is in the set has everything; how the next writer's commits are protected, it says.
        self.protection = Protection::Waiting;
        Ok(true)
    }

    fn change_set(
        &mut self,
        writer: (Epoch, OpeningId),
        (follows, expected): (u64, &[SetMember]),
        set: &[SetMember],
        protection: &Protection,
    ) -> Result<bool, Refusal> {
        self.check_held()?;
        self.check_writer(writer)?;
        check_set(set)?;
        if let Protection::Degraded(degraded) = protection {
            check_text(&degraded.reason)?;
            check_text(&degraded.operator)?;
        }
        if self.changes.checked_sub(1) == Some(follows)
            && self.set == set
            && self.protection == *protection
        {
            return Ok(false);
        }
        // The set alone does not tell: later changes may have led back to the one expected.
        if self.changes != follows || self.set != expected {
            return Err(Refusal::Set);
        }
        self.changes += 1;
        self.set = set.to_vec();
        self.protection = protection.clone();
        Ok(true)
    }

    fn note_fence(&mut self, certificate: &FenceCertificate) -> Result<bool, Refusal> {
        self.check_cluster(certificate.cluster)?;
        if certificate.grants.len() > SET_MEMBERS_MAX {
            return Err(Refusal::SetSize);
        }
        if self.fences.contains(certificate) {
            return Ok(false);
        }
        let newest = self.fences.last().map_or(Epoch::NONE, |fence| fence.opened);
        if certificate.opened <= newest {
            let (current, named) = (newest, certificate.opened);
            return Err(Refusal::Epoch { current, named });
        }
        if self.fences.len() == FENCES_MAX {
            self.fences.remove(0);
        }
        self.fences.push(certificate.clone());
        Ok(true)
    }

    fn prepare(&mut self, plan: &Move) -> Result<bool, Refusal> {
        check_set(&plan.set)?;
        let holding = match &self.authority {
            Authority::Inactive { holding } => *holding,
            // A plan from before must not bury a certificate that is still on its way.
            Authority::HandedOver(certificate) if certificate.plan.is_before(plan) => {
                certificate.holding
            }
            Authority::Prepared { plan: known, .. } if known == plan => return Ok(false),
            Authority::Prepared {
                holding,
                plan: known,
            } if known.is_before(plan) => *holding,
            Authority::Prepared { .. } | Authority::Held { .. } | Authority::HandedOver(_) => {
                return Err(Refusal::Move);
            }
        };
        // An epoch that this register knows to be over plans nothing any more.
        if plan.epoch < self.reign.epoch {
            let (current, named) = (self.reign.epoch, plan.epoch);
            return Err(Refusal::Epoch { current, named });
        }
        let plan = plan.clone();
        self.authority = Authority::Prepared { holding, plan };
        Ok(true)
    }

    fn hand_over(&mut self, plan: &Move) -> Result<bool, Refusal> {
        if let Authority::HandedOver(certificate) = &self.authority
            && certificate.plan == *plan
        {
            return Ok(false);
        }
        let Authority::Held { holding, .. } = self.authority else {
            return Err(self.not_held());
        };
        self.check_writer((plan.epoch, plan.opening))?;
        // The authority went by this plan before, and came back by a newer one.
        if self.moved >= Some(plan.place()) {
            return Err(Refusal::Move);
        }
        let Some(next) = holding.checked_add(1) else {
            return Err(Refusal::Move);
        };
        self.moved = Some(plan.place());
        self.authority = Authority::HandedOver(Box::new(HandOver {
            cluster: self.cluster,
            from: self.site,
            holding: next,
            plan: plan.clone(),
            reign: self.reign.clone(),
        }));
        Ok(true)
    }

    fn activate(&mut self, certificate: &HandOver) -> Result<bool, Refusal> {
        self.check_cluster(certificate.cluster)?;
        if certificate.from == self.site {
            let text = "the certificate is this site's own".to_owned();
            return Err(Refusal::NotForHere(text));
        }
        let (current, named) = (self.holding(), certificate.holding);
        if self.holds_authority() && current == named {
            return Ok(false);
        }
        let Authority::Prepared { plan, .. } = &self.authority else {
            return Err(Refusal::Move);
        };
        if *plan != certificate.plan {
            return Err(Refusal::Move);
        }
        if named <= current {
            return Err(Refusal::Holding { current, named });
        }
        self.reign = certificate.reign.clone();
        self.active = certificate.plan.active;
        self.moved = Some(certificate.plan.place());
        self.changes += 1;
        self.set = certificate.plan.set.clone();
        self.protection = Protection::Waiting;
        self.authority = Authority::Held {
            holding: named,
            seized: None,
        };
        Ok(true)
    }

    fn seize(
        &mut self,
        (follows, nomination): (u64, Option<u64>),
        reign: &Reign,
        set: &[SetMember],
        evidence: &Evidence,
    ) -> Result<bool, Refusal> {
        check_set(set)?;
        check_evidence(evidence)?;
        let current = self.holding();
        let Some(holding) = follows.checked_add(1) else {
            let named = follows;
            return Err(Refusal::Holding { current, named });
        };
        let seized = Authority::Held {
            holding,
            seized: Some(evidence.clone()),
        };
        if self.authority == seized {
            return Ok(false);
        }
        let last = self.nominee.map_or(0, |nominee| nominee.number);
        if let Some(named) = nomination.filter(|named| *named != last) {
            let current = last;
            return Err(Refusal::Nomination { current, named });
        }
        if self.holds_authority() || follows < current {
            let named = follows;
            return Err(Refusal::Holding { current, named });
        }
        if reign.epoch < self.reign.epoch {
            let (current, named) = (self.reign.epoch, reign.epoch);
            return Err(Refusal::Epoch { current, named });
        }
        self.authority = seized;
        self.reign = reign.clone();
        self.active = self.site;
        self.changes += 1;
        self.set = set.to_vec();
        self.protection = Protection::Waiting;
        Ok(true)
    }

    /// A seizure by the other register has the number after this one's; one that took a certificate
    /// has the certificate's. What counts more than either is the one after that.
    fn insist(&mut self, follows: u64, evidence: &Evidence) -> Result<bool, Refusal> {
        check_evidence(evidence)?;
        let (current, named) = (self.holding(), follows);
        let refused = Refusal::Holding { current, named };
        let Some(holding) = follows.checked_add(2) else {
            return Err(refused);
        };
        let insisted = Authority::Held {
            holding,
            seized: Some(evidence.clone()),
        };
        if self.authority == insisted {
            return Ok(false);
        }
        if !matches!(self.authority, Authority::HandedOver(_)) {
            self.check_held()?;
        }
        if current != follows {
            return Err(refused);
        }
        // The set stands as it was. Of what was handed over it may be old by now, which is why
        // only an operator takes that back.
        self.authority = insisted;
        Ok(true)
    }

    fn concede(&mut self, holding: u64) -> Result<bool, Refusal> {
        let current = self.holding();
        if holding < current || (self.holds_authority() && holding == current) {
            let named = holding;
            return Err(Refusal::Holding { current, named });
        }
        if !self.holds_authority() && holding == current {
            return Ok(false);
        }
        self.authority = Authority::Inactive { holding };
        Ok(true)
    }

    fn check_held(&self) -> Result<(), Refusal> {
        match self.holds_authority() {
            true => Ok(()),
            false => Err(self.not_held()),
        }
    }

    fn not_held(&self) -> Refusal {
        Refusal::NotHeld {
            authority: Box::new(self.authority.clone()),
        }
    }

    fn check_writer(&self, (epoch, opening): (Epoch, OpeningId)) -> Result<(), Refusal> {
        let current = self.reign.epoch;
        if epoch != current {
            let named = epoch;
            return Err(Refusal::Epoch { current, named });
        }
        if opening != self.reign.opening {
            let opening = self.reign.opening;
            return Err(Refusal::Opening { epoch, opening });
        }
        Ok(())
    }

    fn check_cluster(&self, cluster: ClusterId) -> Result<(), Refusal> {
        match cluster == self.cluster {
            true => Ok(()),
            false => Err(Refusal::NotForHere(format!("it is of cluster {cluster}"))),
        }
    }
}

fn check_set(set: &[SetMember]) -> Result<(), Refusal> {
    let twice = set
        .iter()
        .enumerate()
        .any(|(at, member)| set[..at].iter().any(|before| before.node == member.node));
    match (1..=SET_MEMBERS_MAX).contains(&set.len()) && !twice {
        true => Ok(()),
        false => Err(Refusal::SetSize),
    }
}

fn check_evidence(evidence: &Evidence) -> Result<(), Refusal> {
    match evidence {
        Evidence::Operator { operator, reason } => {
            check_text(operator)?;
            check_text(reason)
        }
        Evidence::ThirdWitness { .. } => Ok(()),
    }
}

fn check_text(text: &str) -> Result<(), Refusal> {
    match text.len() <= TEXT_BYTES_MAX {
        true => Ok(()),
        false => Err(Refusal::NotForHere(format!(
            "a text of {} bytes is over the limit of {TEXT_BYTES_MAX}",
            text.len()
        ))),
    }
}
