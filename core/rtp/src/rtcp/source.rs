//! Who the sources are and when they leave: SDES, BYE, and APP (RFC 3550 §6.5 to §6.7).

use super::Reader;
use crate::RtpError;

/// One SDES chunk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Description {
    /// The source described.
    pub ssrc: u32,
    /// Its items in order.
    pub items: Vec<DescriptionItem>,
}

/// One SDES item; 1 is CNAME (RFC 3550 §6.5.1), 8 PRIV.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescriptionItem {
    /// The item type; zero ends a list and cannot be written.
    pub kind: u8,
    /// UTF-8 as a rule, at most 255 bytes.
    pub text: Vec<u8>,
}

impl Description {
    /// The chunk every compound carries (RFC 3550 §6.1).
    pub fn cname(ssrc: u32, cname: &str) -> Description {
        let text = cname.as_bytes();
        Description {
            ssrc,
            items: vec![DescriptionItem { kind: 1, text: text[..text.len().min(255)].to_vec() }],
        }
    }
}

pub(super) fn read_descriptions(count: u8, body: &[u8]) -> Option<Vec<Description>> {
    let mut rest = body;
    let mut chunks = Vec::new();
    for _ in 0..count {
        let mut reader = Reader(rest);
        let ssrc = reader.u32()?;
        let mut items = Vec::new();
        loop {
            match reader.u8()? {
                0 => break,
                kind => {
                    let length = usize::from(reader.u8()?);
                    items.push(DescriptionItem { kind, text: reader.take(length)?.to_vec() });
                }
            }
        }
        // A chunk ends at the next 32-bit boundary.
        let used = (rest.len() - reader.0.len()).next_multiple_of(4);
        rest = rest.get(used..)?;
        chunks.push(Description { ssrc, items });
    }
    Some(chunks)
}

pub(super) fn write_descriptions(chunks: &[Description], out: &mut Vec<u8>) -> Result<usize, RtpError> {
    for chunk in chunks {
        let start = out.len();
        out.extend_from_slice(&chunk.ssrc.to_be_bytes());
        for item in &chunk.items {
            let length = u8::try_from(item.text.len()).map_err(|_| RtpError::TooLarge("SDES item"))?;
            if item.kind == 0 {
                return Err(RtpError::TooLarge("SDES item type"));
            }
            out.extend_from_slice(&[item.kind, length]);
            out.extend_from_slice(&item.text);
        }
        out.push(0);
        while !(out.len() - start).is_multiple_of(4) {
            out.push(0);
        }
    }
    Ok(chunks.len())
}

/// BYE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Goodbye {
    /// Who leaves; at most 31.
    pub sources: Vec<u32>,
    /// Why, at most 255 bytes.
    pub reason: Option<String>,
}

impl Goodbye {
    pub(super) fn read(count: u8, body: &[u8]) -> Option<Goodbye> {
        let mut reader = Reader(body);
        let sources = (0..count).map(|_| reader.u32()).collect::<Option<Vec<_>>>()?;
        let reason = match reader.u8() {
            None | Some(0) => None,
            Some(length) => Some(String::from_utf8_lossy(reader.take(usize::from(length))?).into_owned()),
        };
        Some(Goodbye { sources, reason })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<usize, RtpError> {
        for source in &self.sources {
            out.extend_from_slice(&source.to_be_bytes());
        }
        if let Some(reason) = &self.reason {
            out.push(u8::try_from(reason.len()).map_err(|_| RtpError::TooLarge("BYE reason"))?);
            out.extend_from_slice(reason.as_bytes());
        }
        Ok(self.sources.len())
    }
}

/// APP.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Application {
    /// 0 to 31.
    pub subtype: u8,
    /// Who sends it.
    pub ssrc: u32,
    /// Four ASCII characters.
    pub name: [u8; 4],
    /// Whole 32-bit words; shorter data is filled with zeros on the wire.
    pub data: Vec<u8>,
}

impl Application {
    pub(super) fn read(count: u8, body: &[u8]) -> Option<Application> {
        let mut reader = Reader(body);
        let ssrc = reader.u32()?;
        let name = *reader.take(4)?.first_chunk()?;
        Some(Application { subtype: count, ssrc, name, data: reader.0.to_vec() })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) -> Result<usize, RtpError> {
        out.extend_from_slice(&self.ssrc.to_be_bytes());
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&self.data);
        Ok(usize::from(self.subtype))
    }
}
