//! Every dialog that one INVITE of ours made (RFC 3261 §12.1, §13.2.2.4; forking).

use std::collections::BTreeMap;

use wakeline_sip_message::Message;

use crate::dialog::Dialog;
use crate::error::DialogError;
use crate::provisional::Provisionals;

/// The most early dialogs of one INVITE: a hostile or broken proxy must not fill the memory (bug class S14).
const MOST: usize = 16;

/// One early dialog and what is remembered of it.
#[derive(Clone, Debug)]
pub struct Leg<T> {
    /// The dialog.
    pub dialog: Dialog,
    /// The order of its reliable provisional responses.
    pub provisionals: Provisionals,
    /// What the owner keeps with it.
    pub note: T,
}

/// The early dialogs of one INVITE, by the peers' tags.
#[derive(Clone, Debug)]
pub struct Forks<T> {
    legs: BTreeMap<String, Leg<T>>,
}

impl<T> Default for Forks<T> {
    fn default() -> Self {
        Forks { legs: BTreeMap::new() }
    }
}

impl<T: Default> Forks<T> {
    /// The leg that this response is of, made if it is new. Nothing for a provisional response without a To tag, which
    /// makes no dialog, and for one leg too many.
    pub fn hear(
        &mut self,
        request: &Message,
        response: &Message,
    ) -> Result<Option<&mut Leg<T>>, DialogError> {
        let tag = response.to()?.tag().unwrap_or("").to_owned();
        let is_final = response.status().is_some_and(|status| status >= 200);
        if !self.legs.contains_key(&tag) {
            if !is_final && (tag.is_empty() || self.legs.len() >= MOST) {
                return Ok(None);
            }
            let dialog = Dialog::from_uac(request, response)?;
            self.legs.insert(
                tag.clone(),
                Leg { dialog, provisionals: Provisionals::default(), note: T::default() },
            );
        } else if let Some(leg) = self.legs.get_mut(&tag) {
            match is_final {
                true => leg.dialog.confirm(response)?,
                // Some stacks name their Contact only in a later 18x.
                false => leg.dialog.refresh_target(response),
            }
        }
        Ok(self.legs.get_mut(&tag))
    }

    /// The leg with this remote tag.
    pub fn get_mut(&mut self, remote_tag: &str) -> Option<&mut Leg<T>> {
        self.legs.get_mut(remote_tag)
    }

    /// The leg that a request of a peer is of.
    pub fn of_request(&mut self, request: &Message) -> Option<&mut Leg<T>> {
        self.legs.values_mut().find(|leg| leg.dialog.owns_request(request))
    }

    /// Whether one of the legs owns this request.
    pub fn owns_request(&self, request: &Message) -> bool {
        self.legs.values().any(|leg| leg.dialog.owns_request(request))
    }

    /// Takes one leg out; the others stay.
    pub fn take(&mut self, remote_tag: &str) -> Option<Leg<T>> {
        self.legs.remove(remote_tag)
    }

    /// Every leg.
    pub fn iter(&self) -> impl Iterator<Item = &Leg<T>> {
        self.legs.values()
    }

    /// Every leg, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Leg<T>> {
        self.legs.values_mut()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.legs.len()
    }

    /// Whether no peer answered with a tag yet.
    pub fn is_empty(&self) -> bool {
        self.legs.is_empty()
    }
}
