//! Where grants and the signing key are kept: behind this process alone, or where other nodes write as well.

use wakeline_clock::WallTime;

use super::grants::Grants;
use super::signer::Signer;
use crate::store::{Change, Keeper, Redis, Row, StoreError, Table};

/// How often a change is tried that other nodes are quicker with: each of them has then changed the same grant.
const TRIES: usize = 5;

/// The key's row.
pub(crate) const KEY: &str = "provision-key";

/// The store does not answer, or others were quicker again and again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Away;

impl From<StoreError> for Away {
    fn from(error: StoreError) -> Away {
        tracing::error!("{error}; settings are granted and fetched again when it is back");
        Away
    }
}

/// Where they are kept.
#[derive(Debug)]
pub(crate) enum Ledger {
    /// Memory is the truth, and the store is written behind it.
    Own(Option<Keeper>),
    /// The server is: every change is held against what stands there.
    Shared(Box<Redis>),
}

impl Ledger {
    /// What stands under a key; `None` outside when memory is the truth.
    fn read(&mut self, table: Table, key: &[u8]) -> Result<Option<Option<Row>>, Away> {
        match self {
            Ledger::Own(_) => Ok(None),
            Ledger::Shared(server) => Ok(Some(server.get(table, key)?)),
        }
    }

    /// Writes; `false` when what stands there is no longer what it was before.
    fn swap(&mut self, table: Table, before: Option<&Row>, change: Change) -> Result<bool, Away> {
        match self {
            Ledger::Own(keeper) => {
                if let Some(keeper) = keeper {
                    keeper.put(table, change);
                }
                Ok(true)
            }
            Ledger::Shared(server) => Ok(server.swap(table, before, &change)?),
        }
    }
}

/// Everything that was granted, and the key that signs it.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) grants: Grants,
    pub(super) signer: Signer,
    ledger: Ledger,
}

impl Book {
    pub(super) fn new(grants: Grants, signer: Signer, ledger: Ledger) -> Book {
        Book { grants, signer, ledger }
    }

    /// Changes a grant where it is kept; done again on what stands there then, when another node was quicker.
    pub(super) fn change<T, E: From<Away>>(
        &mut self,
        id: &str,
        change: impl Fn(&mut Grants) -> Result<T, E>,
    ) -> Result<T, E> {
        for _ in 0..TRIES {
            let before = self.refresh(id)?;
            let done = change(&mut self.grants)?;
            let after = match self.grants.get(id) {
                Some(grant) => Change::Put(grant.row()),
                None => Change::Remove(id.as_bytes().to_vec()),
            };
            if self.ledger.swap(Table::Grants, before.as_ref(), after)? {
                return Ok(done);
            }
        }
        let _ = self.refresh(id)?;
        Err(Away.into())
    }

    /// Reads a grant where other nodes write as well.
    pub(super) fn refresh(&mut self, id: &str) -> Result<Option<Row>, Away> {
        let Some(stands) = self.ledger.read(Table::Grants, id.as_bytes())? else { return Ok(None) };
        self.grants.put(id, stands.as_ref());
        Ok(stands)
    }

    /// Lets time do its work on all of them; what cannot be written now is for the next time.
    pub(super) fn sweep(&mut self, now: WallTime) {
        for id in self.grants.due(now) {
            let aged: Result<(), Away> = self.change(&id, |grants| {
                grants.age(now, &id);
                Ok(())
            });
            drop(aged);
        }
    }

    /// The key that signs, which another node may have changed.
    pub(super) fn signer(&mut self) -> Result<&Signer, Away> {
        if let Some(Some(row)) = self.ledger.read(Table::Own, KEY.as_bytes())?
            && row.value != self.signer.store().into_bytes()
            && let Some(signer) = Signer::load(&String::from_utf8_lossy(&row.value))
        {
            self.signer = signer;
        }
        Ok(&self.signer)
    }

    /// Another key signs from now on.
    pub(super) fn change_key(&mut self, signer: Signer) -> Result<(), Away> {
        let row = |signer: &Signer| Row { key: KEY.into(), value: signer.store().into_bytes(), until: None };
        if !self.ledger.swap(Table::Own, Some(&row(&self.signer)), Change::Put(row(&signer)))? {
            return Err(Away);
        }
        self.signer = signer;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::super::code::Code;
    use super::super::grants::after;
    use super::*;

    const NOW: WallTime = WallTime(1_800_000_000_000);

    #[test]
    fn what_nobody_is_to_fetch_any_more_goes_whether_somebody_asks_or_not() {
        let mut book = Book::new(Grants::default(), Signer::make(NOW, None).unwrap(), Ledger::Own(None));
        let code = Code::draw().unwrap();
        let until = after(NOW, Duration::from_secs(60));
        let made: Result<(), Away> = book.change("g", |grants| {
            let aor = ("mia".to_owned(), "example.org".to_owned());
            let parameters = BTreeMap::from([("password".to_owned(), "open sesame".into())]);
            grants.offer("g".to_owned(), &code, until, String::new(), aor, parameters);
            Ok(())
        });
        assert_eq!(made, Ok(()));
        book.sweep(NOW);
        assert_eq!(book.grants.len(), 1);
        book.sweep(until);
        assert_eq!((book.grants.len(), book.grants.of_code(&code)), (0, None));
    }
}
