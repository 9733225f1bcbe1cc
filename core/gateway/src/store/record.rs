//! What stands in the values: JSON of the machine's own records, so that a field may be added without a new schema.

use serde::Serialize;
use wakeline_clock::WallTime;
use wakeline_registrar::{Account, BindingId, Loaded, Persist, StoredBinding, StoredMail, StoredWake};
use wakeline_sip_auth::ReplayMemory;

use super::{Change, Row, Store, StoreError, Table};

/// How long a wake is kept in the file; its memory in the machine is far shorter.
const WAKE: u64 = 3600 * 1000;

/// The key of a binding.
fn key(id: BindingId) -> Vec<u8> {
    id.0.to_be_bytes().to_vec()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    // These records are plain structures with text keys; writing them to memory cannot fail.
    serde_json::to_vec(value).unwrap_or_default()
}

/// The rows that a change of the machine's means.
pub(crate) fn changes(persist: &Persist, mut put: impl FnMut(Table, Change)) {
    match persist {
        Persist::BindingPut(binding) => {
            // No end is written: the machine says when a binding is over, and does not write every refresh.
            put(
                Table::Bindings,
                Change::Put(Row { key: key(binding.id), value: json(binding), until: None }),
            );
        }
        Persist::BindingRemoved(id) => put(Table::Bindings, Change::Remove(key(*id))),
        Persist::WakePut(wake) => {
            let row = Row {
                key: wake.wake.as_str().as_bytes().to_vec(),
                value: json(wake),
                until: Some(WallTime(wake.at.0.saturating_add(WAKE))),
            };
            put(Table::Wakes, Change::Put(row));
        }
        Persist::MailPut(mail) => {
            let key = mail.name.as_bytes().to_vec();
            put(Table::Mail, Change::Put(Row { key, value: json(mail), until: Some(mail.until) }));
        }
        Persist::MailRemoved(name) => put(Table::Mail, Change::Remove(name.as_bytes().to_vec())),
        Persist::WakeSpent { aor, caller, at } => {
            // A row of its own for each, so that none replaces another before it was told.
            let mut key = at.0.to_be_bytes().to_vec();
            key.extend(aor.to_be_bytes());
            key.extend(caller.unwrap_or_default().to_be_bytes());
            let until = Some(WallTime(at.0.saturating_add(WAKE)));
            put(Table::Spent, Change::Put(Row { key, value: json(&(aor, caller)), until }));
        }
        Persist::NonceUsed { used, until } => {
            let row = Row { key: used.name().to_vec(), value: json(used), until: Some(*until) };
            put(Table::Nonces, Change::Put(row));
        }
        Persist::WakeForgotten(wake) => put(Table::Wakes, Change::Remove(wake.as_str().as_bytes().to_vec())),
    }
}

/// What a change of another node's means to the machine; `None` when it is not the machine's, or cannot be read.
pub(crate) fn persisted(table: Table, change: &Change) -> Option<Persist> {
    let read = |row: &Row| -> Option<Persist> {
        match table {
            Table::Bindings => serde_json::from_slice(&row.value).ok().map(Persist::BindingPut),
            Table::Wakes => serde_json::from_slice(&row.value).ok().map(Persist::WakePut),
            Table::Mail => serde_json::from_slice(&row.value).ok().map(Persist::MailPut),
            Table::Spent => {
                let (aor, caller) = serde_json::from_slice(&row.value).ok()?;
                Some(Persist::WakeSpent { aor, caller, at: row.until? })
            }
            Table::Nonces => {
                let used = serde_json::from_slice(&row.value).ok()?;
                Some(Persist::NonceUsed { used, until: row.until? })
            }
            Table::Accounts
            | Table::Own
            | Table::TlsSessions
            | Table::Grants
            | Table::Subscriptions
            | Table::Nodes => None,
        }
    };
    match (table, change) {
        (_, Change::Put(row)) => read(row),
        (Table::Bindings, Change::Remove(key)) => {
            let number = u64::from_be_bytes(key.as_slice().try_into().ok()?);
            Some(Persist::BindingRemoved(BindingId(number)))
        }
        (Table::Mail, Change::Remove(key)) => String::from_utf8(key.clone()).ok().map(Persist::MailRemoved),
        (_, Change::Remove(_)) => None,
    }
}

/// The row of an account that was added while the gateway ran.
pub(crate) fn account_row(account: &Account) -> Row {
    Row { key: account_key(&account.user, &account.domain), value: json(account), until: None }
}

/// The row of the nonces' uses, so that a used one stays used over a planned restart.
pub(crate) fn nonces_row(memory: &ReplayMemory) -> Row {
    Row { key: NONCES.to_vec(), value: json(memory), until: None }
}

/// The uses of nonces, from the gateway's own rows.
pub(crate) fn nonces(own: &[Row]) -> Option<ReplayMemory> {
    let row = own.iter().find(|row| row.key == NONCES)?;
    serde_json::from_slice(&row.value).ok()
}

/// The key of the nonces' uses. The row goes once it is read: after a crash it would be too old, and nonces of before
/// are stale then.
pub(crate) const NONCES: &[u8] = b"nonces";

/// The key of an account.
pub(crate) fn account_key(user: &str, domain: &str) -> Vec<u8> {
    format!("{user}@{}", domain.to_ascii_lowercase()).into_bytes()
}

/// Everything the machine starts with, and the rows that are of no use any more. Rows that cannot be read are left out
/// and counted in the log.
pub(crate) fn load(store: &mut dyn Store, now: WallTime) -> Result<(Loaded, Vec<Change>), StoreError> {
    let mut unreadable = 0_usize;
    let mut loaded = Loaded::default();
    let mut useless = Vec::new();
    for row in store.load(Table::Bindings, now)? {
        match serde_json::from_slice::<StoredBinding>(&row.value) {
            Ok(binding) if binding.expires > now => loaded.bindings.push(binding),
            Ok(_) => useless.push(Change::Remove(row.key)),
            Err(_) => unreadable += 1,
        }
    }
    for row in store.load(Table::Wakes, now)? {
        match serde_json::from_slice::<StoredWake>(&row.value) {
            Ok(wake) => loaded.wakes.push(wake),
            Err(_) => unreadable += 1,
        }
    }
    for row in store.load(Table::Mail, now)? {
        match serde_json::from_slice::<StoredMail>(&row.value) {
            Ok(mail) => loaded.mail.push(mail),
            Err(_) => unreadable += 1,
        }
    }
    for row in store.load(Table::Nonces, now)? {
        match serde_json::from_slice(&row.value) {
            Ok(used) => loaded.nonces.push(used),
            Err(_) => unreadable += 1,
        }
    }
    for row in store.load(Table::Accounts, now)? {
        match serde_json::from_slice::<Account>(&row.value) {
            Ok(account) => loaded.accounts.push(account),
            Err(_) => unreadable += 1,
        }
    }
    if unreadable > 0 {
        tracing::error!(unreadable, "some rows of the store cannot be read; they are left out");
    }
    Ok((loaded, useless))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Sqlite;
    use crate::store::keeper::tests::folder;
    use wakeline_registrar::{StoredDevice, StoredWhat};

    #[test]
    fn mail_outlives_a_restart_and_what_was_delivered_does_not() {
        let now = WallTime(1_800_000_000_000);
        let mail = |name: &str, until: u64| StoredMail {
            name: name.to_owned(),
            aor: "mia@voice.example.org".to_owned(),
            what: StoredWhat::Message,
            at: now,
            until: WallTime(now.0 + until),
            request: b"MESSAGE sip:mia@voice.example.org SIP/2.0\r\n\r\n\xff".to_vec(),
            devices: vec![
                StoredDevice::Instance("<urn:uuid:0>".to_owned()),
                StoredDevice::Binding(BindingId(7)),
            ],
        };
        let folder = folder();
        let path = folder.path().join("mail.db");
        let mut store = Sqlite::open(&path).unwrap();
        let mut rows = Vec::new();
        for change in [
            Persist::MailPut(mail("a", 1000)),
            Persist::MailPut(mail("b", 1000)),
            Persist::MailPut(mail("c", 0)),
            Persist::MailRemoved("b".to_owned()),
        ] {
            changes(&change, |table, change| rows.push((table, change)));
        }
        store.write(&rows).unwrap();
        drop(store);
        let (loaded, _) = load(&mut Sqlite::open(&path).unwrap(), now).unwrap();
        assert!(loaded.mail == [mail("a", 1000)]);
    }
}
