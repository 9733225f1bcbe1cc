//! Handles of transactions, and the slots that they name.

/// Names a client transaction for as long as it lives; never used again afterwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientKey(pub u64);

/// Names a server transaction for as long as it lives; never used again afterwards.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ServerKey(pub u64);

/// Names a transaction of either side.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Key {
    /// A client transaction.
    Client(ClientKey),
    /// A server transaction.
    Server(ServerKey),
}

/// Values in reusable slots. A handle is slot and generation, so that an old one finds nothing.
pub(crate) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    /// The generation of slots that are yet to be made.
    first: u32,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { slots: Vec::new(), free: Vec::new(), first: 0 }
    }
}

impl<T> Slots<T> {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Puts a value into a free slot. The caller's cap keeps the count far below 2³².
    pub(crate) fn insert(&mut self, value: T) -> u64 {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push(Slot { generation: self.first, value: None });
                (self.slots.len() - 1) as u32
            }
        };
        let generation = match self.slots.get_mut(index as usize) {
            Some(slot) => {
                slot.value = Some(value);
                slot.generation
            }
            None => 0,
        };
        u64::from(generation) << 32 | u64::from(index)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_ref())
    }

    fn split(key: u64) -> (usize, u32) {
        ((key & 0xffff_ffff) as usize, (key >> 32) as u32)
    }

    pub(crate) fn get(&self, key: u64) -> Option<&T> {
        let (index, generation) = Self::split(key);
        self.slots.get(index).filter(|slot| slot.generation == generation)?.value.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut T> {
        let (index, generation) = Self::split(key);
        self.slots.get_mut(index).filter(|slot| slot.generation == generation)?.value.as_mut()
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<T> {
        let (index, generation) = Self::split(key);
        let slot = self.slots.get_mut(index).filter(|slot| slot.generation == generation)?;
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(index as u32);
        // After a flood the memory goes back (class S14).
        if self.free.len() == self.slots.len() && self.slots.len() > 4096 {
            self.shrink();
        }
        Some(value)
    }

    /// All slots are free: they go, and those that follow are younger than each of them.
    fn shrink(&mut self) {
        let newest = self.slots.iter().map(|slot| slot.generation).max().unwrap_or(self.first);
        *self = Slots { slots: Vec::new(), free: Vec::new(), first: newest.wrapping_add(1) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_handle_finds_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_eq!((slots.get(first), slots.get(second), slots.len()), (None, Some(&'b'), 1));
    }

    #[test]
    fn s14_memory_goes_back_after_a_flood_and_old_handles_stay_dead() {
        let mut slots = Slots::default();
        let keys: Vec<u64> = (0..10_000).map(|number| slots.insert(number)).collect();
        for key in &keys {
            slots.remove(*key);
        }
        assert_eq!((slots.len(), slots.slots.len()), (0, 0));
        for number in 0..10_000 {
            slots.insert(number);
        }
        assert!(keys.iter().all(|key| slots.get(*key).is_none()));
    }
}
