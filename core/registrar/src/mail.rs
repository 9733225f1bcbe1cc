//! What waits for phones that sleep: MESSAGEs taken in with 202 (RFC 3428 §7), the last word of a subscription or of a
//! voicemail box (RFC 3842), and missed calls.
//!
//! A piece of mail is for every device that its address of record had when it came, and waits for each until that
//! device has answered it or its time is over. It is written to the store before the sender is told, in the same drain.
//! One piece at a time is on its way to a device, so they arrive in the order in which they came.

mod deliver;
mod elsewhere;
mod missed;
mod take;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use smallvec::SmallVec;
use wakeline_clock::{Time, WallTime};
use wakeline_flow::FlowId;
use wakeline_push::WakeId;
use wakeline_sip_message::Message;
use wakeline_sip_transaction::ClientKey;

use crate::keyed::{Keyed, Table};
use crate::number::{AorId, Device};
use crate::output::StoredDevice;

/// How long a MESSAGE that every device has is known for its repetition by a sender that missed the 202.
const REPEATED: core::time::Duration = core::time::Duration::from_secs(90);

/// What a piece of mail is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// A MESSAGE. The mark is of its Call-ID, From tag and CSeq: the same one again is no second one.
    Message { mark: u64 },
    /// A NOTIFY of which only the last one counts. The mark is of its package, and of its dialog if it has one.
    Notice { mark: u64 },
    /// A call that nobody heard.
    Missed { wake: WakeId },
}

/// Whether a request line is ours to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// The device's Contact (RFC 3261 §16.6 step 2).
    Contact,
    /// As it came: it belongs to a dialog.
    Dialog,
}

/// How far delivery to one device is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// It waits for the device to come.
    Waiting,
    /// It is on its way.
    Sent { client: ClientKey, flow: FlowId },
}

/// One device that has not got it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Addressee {
    pub(crate) device: Device,
    /// Its name in the store.
    pub(crate) name: StoredDevice,
    pub(crate) standing: Standing,
}

/// One piece.
pub(crate) struct Mail {
    /// Its name in the store; in the order of names they came.
    pub(crate) name: String,
    pub(crate) aor: AorId,
    pub(crate) what: What,
    pub(crate) target: Target,
    pub(crate) at: WallTime,
    pub(crate) until: WallTime,
    /// When it is forgotten on this machine's clock.
    pub(crate) ends: Time,
    /// As it leaves, without Via and Route.
    pub(crate) request: Message,
    pub(crate) addressees: SmallVec<[Addressee; 1]>,
}

/// All of it.
pub(crate) struct Mails {
    by_number: BTreeMap<u64, Mail>,
    /// In the order in which they came.
    by_aor: BTreeMap<AorId, Vec<u64>>,
    by_name: BTreeMap<String, u64>,
    by_client: BTreeMap<ClientKey, (u64, Device)>,
    ends: BTreeSet<(Time, u64)>,
    last: u64,
    bytes: usize,
    /// Marks of MESSAGEs that are with every device already.
    recent: Table<u64, ()>,
    queue: VecDeque<(Time, u64)>,
    /// When a device was last woken for its mail.
    pub(crate) woken: BTreeMap<(AorId, Device), Time>,
    pub(crate) armed: Time,
}

impl Mails {
    pub(crate) fn new(keyed: Keyed) -> Mails {
        Mails {
            by_number: BTreeMap::new(),
            by_aor: BTreeMap::new(),
            by_name: BTreeMap::new(),
            by_client: BTreeMap::new(),
            ends: BTreeSet::new(),
            last: 0,
            bytes: 0,
            recent: keyed.table(),
            queue: VecDeque::new(),
            woken: BTreeMap::new(),
            armed: Time::NEVER,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// Bytes of all requests that wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, number: u64) -> Option<&Mail> {
        self.by_number.get(&number)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Mail> {
        self.by_number.get_mut(&number)
    }

    /// By its name in the store.
    pub(crate) fn named(&self, name: &str) -> Option<u64> {
        self.by_name.get(name).copied()
    }

    /// The pieces of an address of record, the oldest first.
    pub(crate) fn of(&self, aor: AorId) -> impl Iterator<Item = (u64, &Mail)> {
        let numbers = self.by_aor.get(&aor).into_iter().flatten();
        numbers.filter_map(|number| Some((*number, self.by_number.get(number)?)))
    }

    pub(crate) fn has(&self, aor: AorId) -> bool {
        self.by_aor.contains_key(&aor)
    }

    pub(crate) fn insert(&mut self, mail: Mail) -> u64 {
        self.last += 1;
        self.bytes += mail.request.len();
        self.ends.insert((mail.ends, self.last));
        self.by_aor.entry(mail.aor).or_default().push(self.last);
        self.by_name.insert(mail.name.clone(), self.last);
        self.by_number.insert(self.last, mail);
        self.last
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<Mail> {
        let mail = self.by_number.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(mail.request.len());
        self.ends.remove(&(mail.ends, number));
        self.by_name.remove(&mail.name);
        if let Some(numbers) = self.by_aor.get_mut(&mail.aor) {
            numbers.retain(|other| *other != number);
            if numbers.is_empty() {
                self.by_aor.remove(&mail.aor);
            }
        }
        for addressee in &mail.addressees {
            if let Standing::Sent { client, .. } = addressee.standing {
                self.by_client.remove(&client);
            }
        }
        Some(mail)
    }

    /// Remembers that a piece is on its way.
    pub(crate) fn sent(&mut self, number: u64, device: Device, client: ClientKey, flow: FlowId) {
        let found = self.by_number.get_mut(&number).into_iter().flat_map(|mail| &mut mail.addressees);
        for addressee in found.filter(|one| one.device == device) {
            addressee.standing = Standing::Sent { client, flow };
            self.by_client.insert(client, (number, device));
        }
    }

    /// The piece and the device that a transaction was for; it waits again.
    pub(crate) fn came_back(&mut self, client: ClientKey) -> Option<(u64, Device)> {
        let (number, device) = self.by_client.remove(&client)?;
        let found = self.by_number.get_mut(&number).into_iter().flat_map(|mail| &mut mail.addressees);
        for addressee in found.filter(|one| one.device == device) {
            addressee.standing = Standing::Waiting;
        }
        Some((number, device))
    }

    pub(crate) fn is_sent_by(&self, client: ClientKey) -> bool {
        self.by_client.contains_key(&client)
    }

    /// What is on its way to this device on a connection other than this.
    pub(crate) fn astray(&self, aor: AorId, device: Device, now_on: FlowId) -> Option<ClientKey> {
        self.of(aor).flat_map(|(_, mail)| &mail.addressees).find_map(|one| match one.standing {
            Standing::Sent { client, flow } if one.device == device && flow != now_on => Some(client),
            Standing::Sent { .. } | Standing::Waiting => None,
        })
    }

    /// A number for a name: names of one process come in order.
    pub(crate) fn next_number(&self) -> u64 {
        self.last + 1
    }

    /// Whether something is on its way to this device now.
    pub(crate) fn is_busy(&self, aor: AorId, device: Device) -> bool {
        self.of(aor).any(|(_, mail)| {
            mail.addressees
                .iter()
                .any(|one| one.device == device && matches!(one.standing, Standing::Sent { .. }))
        })
    }

    /// When something here is to be forgotten next.
    pub(crate) fn next(&self) -> Time {
        let ends = self.ends.first().map_or(Time::NEVER, |(at, _)| *at);
        self.queue.front().map_or(ends, |(at, _)| ends.min(*at))
    }

    /// The first piece whose time is over.
    pub(crate) fn over(&self, now: Time) -> Option<u64> {
        self.ends.first().filter(|(at, _)| *at <= now).map(|(_, number)| *number)
    }

    pub(crate) fn remember(&mut self, now: Time, mark: u64, most: usize) {
        while self.queue.len() >= most {
            let Some((_, oldest)) = self.queue.pop_front() else { return };
            self.recent.remove(&oldest);
        }
        if self.recent.insert(mark, ()).is_none() {
            self.queue.push_back((now + REPEATED, mark));
        }
    }

    pub(crate) fn is_recent(&self, mark: u64) -> bool {
        self.recent.contains_key(&mark)
    }

    pub(crate) fn forget(&mut self, now: Time) {
        while let Some((at, mark)) = self.queue.front().copied() {
            if at > now {
                break;
            }
            self.queue.pop_front();
            self.recent.remove(&mark);
        }
    }
}
