//! All bindings, by number and by push token. Which belong to an address of record stands with the account.

use std::collections::BTreeSet;
use std::collections::hash_map::Entry;

use crate::binding::Binding;
use crate::keyed::{Keyed, Table};
use crate::number::BindingId;

/// The table.
pub(crate) struct Bindings {
    by_id: Table<u64, Binding>,
    /// By token digest.
    by_token: Table<u64, BindingId>,
    /// The further ones: one token may stand in several bindings, but only of one device.
    further: BTreeSet<(u64, BindingId)>,
    last_id: u64,
}

impl Bindings {
    pub(crate) fn new(keyed: Keyed) -> Bindings {
        Bindings { by_id: keyed.table(), by_token: keyed.table(), further: BTreeSet::new(), last_id: 0 }
    }

    /// A number that was never used, also not by a binding of the store.
    pub(crate) fn next_id(&mut self) -> BindingId {
        self.last_id += 1;
        BindingId(self.last_id)
    }

    pub(crate) fn get(&self, id: BindingId) -> Option<&Binding> {
        self.by_id.get(&id.0)
    }

    /// For everything but the token: that changes by [`Bindings::set_token`].
    pub(crate) fn get_mut(&mut self, id: BindingId) -> Option<&mut Binding> {
        self.by_id.get_mut(&id.0)
    }

    pub(crate) fn insert(&mut self, binding: Binding) {
        if binding.id.is_counted() {
            self.last_id = self.last_id.max(binding.id.0);
        }
        self.attach(binding.token, binding.id);
        self.by_id.insert(binding.id.0, binding);
    }

    pub(crate) fn remove(&mut self, id: BindingId) -> Option<Binding> {
        let binding = self.by_id.remove(&id.0)?;
        self.detach(binding.token, id);
        Some(binding)
    }

    pub(crate) fn set_token(&mut self, id: BindingId, token: u64) {
        let Some(binding) = self.by_id.get_mut(&id.0) else { return };
        let before = core::mem::replace(&mut binding.token, token);
        if before != token {
            self.detach(before, id);
            self.attach(token, id);
        }
    }

    fn attach(&mut self, token: u64, id: BindingId) {
        if token == 0 {
            return;
        }
        match self.by_token.entry(token) {
            Entry::Vacant(free) => drop(free.insert(id)),
            Entry::Occupied(first) if *first.get() == id => {}
            Entry::Occupied(_) => drop(self.further.insert((token, id))),
        }
    }

    fn detach(&mut self, token: u64, id: BindingId) {
        if self.further.remove(&(token, id)) || self.by_token.get(&token) != Some(&id) {
            return;
        }
        let next = self.further_of(token).next();
        match next {
            Some(next) => {
                self.further.remove(&(token, next));
                self.by_token.insert(token, next);
            }
            None => drop(self.by_token.remove(&token)),
        }
    }

    fn further_of(&self, token: u64) -> impl Iterator<Item = BindingId> {
        self.further.range((token, BindingId(0))..=(token, BindingId(u64::MAX))).map(|(_, id)| *id)
    }

    /// Every binding that carries this token.
    pub(crate) fn with_token(&self, token: u64) -> impl Iterator<Item = &Binding> {
        let first = self.by_token.get(&token).copied();
        first.into_iter().chain(self.further_of(token)).filter_map(|id| self.get(id))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::binding::BindingText;
    use crate::number::AorId;
    use wakeline_entropy::Entropy;

    fn binding(id: u64, token: u64) -> Binding {
        let text = BindingText { uri: "sip:a@b", params: "", call_id: "c", path: "" };
        let mut binding = Binding::new(BindingId(id), AorId(0), text);
        binding.token = token;
        binding
    }

    #[test]
    fn tokens_follow_their_bindings() {
        let mut table = Bindings::new(Keyed::draw(&mut Entropy::from_number(1)));
        table.insert(binding(5, 50));
        table.insert(binding(6, 50));
        assert_eq!(table.next_id(), BindingId(7));
        let ids =
            |table: &Bindings, token| table.with_token(token).map(|found| found.id.0).collect::<Vec<_>>();
        assert_eq!(ids(&table, 50), [5, 6]);
        table.set_token(BindingId(5), 51);
        assert_eq!((ids(&table, 50), ids(&table, 51)), (vec![6], vec![5]));
        table.set_token(BindingId(5), 0);
        table.insert(binding(8, 50));
        table.insert(binding(9, 50));
        assert_eq!(ids(&table, 50), [6, 8, 9]);
        // Whichever goes, the others are still found.
        assert!(table.remove(BindingId(6)).is_some());
        assert_eq!(ids(&table, 50), [8, 9]);
        assert!(table.remove(BindingId(9)).is_some());
        assert_eq!(ids(&table, 50), [8]);
        assert!(table.remove(BindingId(8)).is_some());
        assert!(table.by_token.is_empty() && table.further.is_empty());
        assert_eq!(table.len(), 1);
    }
}
