//! One call's offers and answers (RFC 3264): what stands, and what is asked.

use std::net::IpAddr;

use wakeline_sdp::{
    Capabilities, Established, Negotiated, Origin, Refusal, SdesKeys, SessionDescription, answer,
    answer_again, conclude, conclude_again, offer, offer_again,
};

/// The state of offer/answer.
#[derive(Debug)]
pub(super) struct Agreement {
    /// One key per suite for the whole call: a description repeated keeps its key, and an unchanged key its counters.
    keys: SdesKeys,
    origin: Origin,
    state: State,
}

/// Where offer/answer stands.
#[derive(Debug)]
enum State {
    /// Nothing is agreed and nothing asked.
    Fresh,
    /// We have offered; `before` stands until the answer, and again if the offer comes to nothing.
    Offered { ours: Box<Ours>, before: Option<Box<Established>> },
    /// Our offer was answered. Another answer to it may follow from another fork, and the latest counts
    /// (RFC 3261 §13.2.2.4).
    Answered { ours: Box<Ours>, before: Option<Box<Established>>, now: Box<Established> },
    /// Theirs was answered by us, or ours is past taking back.
    Standing(Box<Established>),
}

/// Our offer, and what we could and wanted when we made it.
#[derive(Clone, Debug)]
struct Ours {
    offer: SessionDescription,
    capabilities: Capabilities,
}

impl Agreement {
    /// Nothing is agreed yet.
    pub(super) fn new(keys: SdesKeys, origin: Origin) -> Agreement {
        Agreement { keys, origin, state: State::Fresh }
    }

    /// The address in our `o=` line, as long as nothing has been described.
    pub(super) fn set_address(&mut self, address: IpAddr) {
        self.origin.address = address.to_string();
    }

    /// What was agreed and stands.
    pub(super) fn negotiated(&self) -> Option<&Negotiated> {
        self.established().map(|established| &established.negotiated)
    }

    fn established(&self) -> Option<&Established> {
        match &self.state {
            State::Fresh => None,
            State::Offered { before, .. } => before.as_deref(),
            State::Answered { now, .. } | State::Standing(now) => Some(now),
        }
    }

    /// Makes an offer, or a new one in place of an unanswered one.
    pub(super) fn offer(&mut self, capabilities: Capabilities) -> Result<SessionDescription, Refusal> {
        let before = self.established().cloned().map(Box::new);
        let described = match &before {
            Some(established) => offer_again(&capabilities, established, &self.keys)?,
            None => offer(&capabilities, &self.origin, &self.keys)?,
        };
        let ours = Box::new(Ours { offer: described.clone(), capabilities });
        self.state = State::Offered { ours, before };
        Ok(described)
    }

    /// Answers an offer of theirs. A refusal leaves what stands.
    pub(super) fn answer(
        &mut self,
        theirs: &SessionDescription,
        capabilities: &Capabilities,
    ) -> Result<SessionDescription, Refusal> {
        let (described, negotiated) = match self.established() {
            Some(established) => answer_again(theirs, capabilities, established, &self.keys)?,
            None => answer(theirs, capabilities, &self.origin, &self.keys)?,
        };
        self.state = State::Standing(Box::new(Established { local: described.clone(), negotiated }));
        Ok(described)
    }

    /// Takes their answer to our offer. A refusal leaves what stands.
    pub(super) fn conclude(&mut self, theirs: &SessionDescription) -> Result<(), Refusal> {
        let (ours, before) = match &self.state {
            State::Offered { ours, before } | State::Answered { ours, before, .. } => (ours, before),
            // An answer to nothing.
            State::Fresh | State::Standing(_) => return Err(Refusal::Mismatch),
        };
        let negotiated = match before {
            Some(established) => conclude_again(&ours.offer, theirs, &ours.capabilities, established)?,
            None => conclude(&ours.offer, theirs, &ours.capabilities)?,
        };
        let now = Box::new(Established { local: ours.offer.clone(), negotiated });
        self.state = State::Answered { ours: ours.clone(), before: before.clone(), now };
        Ok(())
    }

    /// Our offer is void, answered or not: the former agreement stands (RFC 6141 §3).
    pub(super) fn roll_back(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Fresh) {
            State::Offered { before, .. } | State::Answered { before, .. } => {
                before.map_or(State::Fresh, State::Standing)
            }
            state @ (State::Fresh | State::Standing(_)) => state,
        };
    }
}
