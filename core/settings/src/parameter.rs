//! The schema: what parameters there are.
//!
//! It is kept as text. A table of structures would cost the relocations of every name, in memory that is then the
//! process's own; an index of offsets, made at the first look-up, finds a line without walking the text.

/// What a parameter belongs to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Group {
    /// Who the phone is and where it registers.
    Account,
    /// Which of several phones in one page works.
    Engine,
    /// How packets travel.
    Network,
    /// Codecs, devices, sounds.
    Media,
    /// What happens to calls.
    Call,
    /// Being woken.
    Push,
    /// Where further settings come from.
    Provisioning,
    /// Addresses of the operator's services.
    Integration,
    /// Text messages.
    Messaging,
    /// Presence and busy lamps.
    Presence,
    /// What is shown.
    Ui,
    /// Logging.
    Log,
    /// Where settings are kept.
    Storage,
}

const TABLE: [(Group, &str); 13] = [
    (Group::Account, include_str!("table/account.txt")),
    (Group::Engine, include_str!("table/engine.txt")),
    (Group::Network, include_str!("table/network.txt")),
    (Group::Media, include_str!("table/media.txt")),
    (Group::Call, include_str!("table/call.txt")),
    (Group::Push, include_str!("table/push.txt")),
    (Group::Provisioning, include_str!("table/provisioning.txt")),
    (Group::Integration, include_str!("table/integration.txt")),
    (Group::Messaging, include_str!("table/messaging.txt")),
    (Group::Presence, include_str!("table/presence.txt")),
    (Group::Ui, include_str!("table/ui.txt")),
    (Group::Log, include_str!("table/log.txt")),
    (Group::Storage, include_str!("table/storage.txt")),
];

const MEANINGS: &str = include_str!("table/meanings.txt");

/// What kind of value a parameter takes. Every value may arrive as text (B-037).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// `true`, `false`, `1`, `0`.
    Boolean,
    /// A whole number; `true` and `false` count as 1 and 0.
    Number,
    /// Any text.
    Text,
}

/// One parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Other names, separated by commas.
    aliases: &'static str,
    /// The kind of its value.
    pub kind: Kind,
    /// Its value when none is given; empty when there is none, or when it depends.
    pub default: &'static str,
    /// `a/b/c` for single values, `a..b` for a range, with `?` when it is only advised.
    allowed: &'static str,
    /// What it belongs to.
    pub group: Group,
    /// The engines that it is for, separated by commas; `all` for all.
    pub engines: &'static str,
    flags: &'static str,
}

impl Parameter {
    fn of_line(group: Group, line: &'static str) -> Option<Parameter> {
        let mut fields = line.split('|');
        Some(Parameter {
            name: fields.next()?,
            aliases: fields.next()?,
            kind: match fields.next()? {
                "b" => Kind::Boolean,
                "n" => Kind::Number,
                _ => Kind::Text,
            },
            default: fields.next()?,
            allowed: fields.next()?,
            group,
            engines: fields.next()?,
            flags: fields.next()?,
        })
    }

    /// Its other names.
    pub fn aliases(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.aliases.split(',').filter(|alias| !alias.is_empty())
    }

    /// Whether this phone obeys it.
    pub fn is_honoured(&self) -> bool {
        self.flags.contains('h')
    }

    /// Whether its value must never be shown (B-059).
    pub fn is_secret(&self) -> bool {
        self.flags.contains('s')
    }

    /// Whether it is kept for old pages only, and ignored without a word (B-316).
    pub fn is_legacy(&self) -> bool {
        self.flags.contains('l')
    }

    /// Whether it is one of this phone's own, which other phones do not know.
    pub fn is_own(&self) -> bool {
        self.flags.contains('o')
    }

    /// Whether it is this device's own, or its person's: files and addresses of the device, what it trusts, where it
    /// keeps things. A server may not set it.
    pub fn is_local(&self) -> bool {
        self.flags.contains('d')
    }

    /// Whether its value may have several lines.
    pub(crate) fn may_have_lines(&self) -> bool {
        self.flags.contains('m')
    }

    /// Whether `value` is one that the parameter knows; `Err` tells which ones it knows.
    pub(crate) fn allows(&self, value: &str) -> Result<(), Limits> {
        let (allowed, advised) = match self.allowed.strip_suffix('?') {
            Some(allowed) => (allowed, true),
            None => (self.allowed, false),
        };
        let fits = match allowed.split_once("..") {
            Some((low, high)) => match (low.parse::<i64>(), high.parse::<i64>(), value.parse::<i64>()) {
                (Ok(low), Ok(high), Ok(value)) => (low..=high).contains(&value),
                _ => true,
            },
            None => allowed.is_empty() || allowed.split('/').any(|one| one.eq_ignore_ascii_case(value)),
        };
        if fits { Ok(()) } else { Err(Limits { allowed, advised }) }
    }
}

/// The values that a parameter knows.
pub(crate) struct Limits {
    pub(crate) allowed: &'static str,
    /// Whether another one is used all the same.
    pub(crate) advised: bool,
}

/// Every parameter, by group.
pub fn parameters() -> impl Iterator<Item = Parameter> {
    TABLE.iter().flat_map(|(group, text)| text.lines().filter_map(|line| Parameter::of_line(*group, line)))
}

/// The parameter of this name, or that has it as another name; case does not count.
pub fn parameter(name: &str) -> Option<Parameter> {
    let places = INDEX.get_or_init(index);
    let place = places.partition_point(|place| place.name().bytes().map(lower).lt(name.bytes().map(lower)));
    let place = places.get(place).filter(|place| place.name().eq_ignore_ascii_case(name))?;
    let (group, text) = TABLE.get(usize::from(place.table))?;
    Parameter::of_line(*group, text.get(usize::from(place.line)..)?.lines().next()?)
}

/// Where a name stands in the tables. A look at a setting asks for its parameter: walking the tables each time took most
/// of a phone's working time, and offsets instead of structures keep the index at a few kilobytes.
#[derive(Clone, Copy)]
struct Place {
    table: u8,
    line: u16,
    start: u16,
    length: u8,
}

static INDEX: std::sync::OnceLock<Vec<Place>> = std::sync::OnceLock::new();

impl Place {
    fn name(&self) -> &'static str {
        let start = usize::from(self.start);
        TABLE
            .get(usize::from(self.table))
            .and_then(|(_, text)| text.get(start..start + usize::from(self.length)))
            .unwrap_or_default()
    }
}

fn lower(byte: u8) -> u8 {
    byte.to_ascii_lowercase()
}

/// Every name in order; own names before other parameters' aliases, tables in their order.
fn index() -> Vec<Place> {
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for (table, (_, text)) in (0_u8..).zip(TABLE) {
        let mut line_start = 0;
        for line in text.split_inclusive('\n') {
            let mut fields = line.trim_end().split('|');
            let name = fields.next().unwrap_or("");
            let place = |start: usize, length: usize| {
                Some(Place {
                    table,
                    line: u16::try_from(line_start).ok()?,
                    start: u16::try_from(start).ok()?,
                    length: u8::try_from(length).ok()?,
                })
            };
            own.extend(place(line_start, name.len()).filter(|_| !name.is_empty()));
            let mut start = line_start + name.len() + 1;
            for alias in fields.next().unwrap_or("").split(',') {
                others.extend(place(start, alias.len()).filter(|_| !alias.is_empty()));
                start += alias.len() + 1;
            }
            line_start += line.len();
        }
    }
    own.append(&mut others);
    // Stable: of equal names the first one is found.
    own.sort_by(|a, b| a.name().bytes().map(lower).cmp(b.name().bytes().map(lower)));
    own.shrink_to_fit();
    own
}

/// What a parameter is for, its units and what its values stand for, in a sentence or two.
pub fn meaning(name: &str) -> Option<&'static str> {
    MEANINGS
        .lines()
        .find_map(|line| line.split_once('|').filter(|(own, _)| *own == name))
        .map(|(_, text)| text)
}

/// Longest name that a near one is looked for.
const LONGEST: usize = 48;
/// Cells of a row: the longest known name that can be near it, and one.
const CELLS: usize = LONGEST + 4 + 1;

/// The known name that is written most like this one; none if all are too far.
pub fn nearest(name: &str) -> Option<&'static str> {
    if name.is_empty() || name.len() > LONGEST {
        return None;
    }
    let wanted = name.to_ascii_lowercase();
    let furthest = (wanted.len() / 3).clamp(1, 4);
    parameters()
        .flat_map(|parameter| core::iter::once(parameter.name).chain(parameter.aliases()))
        .filter(|known| known.len().abs_diff(wanted.len()) <= furthest)
        .filter_map(|known| Some((distance(wanted.as_bytes(), known.as_bytes(), furthest)?, known)))
        .min()
        .map(|(_, known)| known)
}

/// Insertions, deletions, replacements and swaps of neighbours that lead from one word to the other; none when they are
/// more than `furthest`. Most words are left after their first letters and nothing is allocated: a file may have many
/// names that nobody knows.
fn distance(a: &[u8], b: &[u8], furthest: usize) -> Option<usize> {
    if b.len() >= CELLS {
        return None;
    }
    let mut before = [0; CELLS];
    let mut last: [usize; CELLS] = core::array::from_fn(|cell| cell);
    for (i, &from) in a.iter().enumerate() {
        let mut row = [i + 1; CELLS];
        let mut least = i + 1;
        for (j, to) in b.iter().map(u8::to_ascii_lowercase).enumerate() {
            let mut best = (last[j] + usize::from(from != to)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && from == b[j - 1].to_ascii_lowercase() && a[i - 1] == to {
                best = best.min(before[j - 1] + 1);
            }
            row[j + 1] = best;
            least = least.min(best);
        }
        // A swap reaches back two rows, and costs one: neither row leads back below.
        if least > furthest && last[..=b.len()].iter().all(|cell| *cell >= furthest) {
            return None;
        }
        before = core::mem::replace(&mut last, row);
    }
    Some(last[b.len()]).filter(|distance| *distance <= furthest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_whole_and_consistent() {
        let all: Vec<_> = parameters().collect();
        assert_eq!(all.iter().filter(|parameter| !parameter.is_own()).count(), 362);
        let lines: usize = TABLE.iter().map(|(_, text)| text.lines().count()).sum();
        assert_eq!(all.len(), lines);
        let mut names: Vec<_> = all.iter().map(|parameter| parameter.name.to_ascii_lowercase()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all.len());
        for one in &all {
            assert!(meaning(one.name).is_some_and(|text| !text.is_empty()), "{}", one.name);
            if one.kind == Kind::Number && !one.default.is_empty() {
                assert!(one.default.parse::<i64>().is_ok(), "{}", one.name);
            }
            if !one.default.is_empty() {
                assert!(one.allows(one.default).is_ok(), "{}", one.name);
            }
            assert_eq!(parameter(one.name).map(|found| found.name), Some(one.name));
            for alias in one.aliases() {
                assert!(parameter(alias).is_some(), "{alias}");
            }
        }
    }

    #[test]
    fn b312_older_names_lead_to_the_new_ones() {
        for (old, new) in [
            ("prefercodec", "prefcodec"),
            ("numrewriterules", "numpxrewrite"),
            ("backgroundcalls", "callreceiver"),
        ] {
            assert_eq!(parameter(old).map(|found| found.name), Some(new));
        }
        assert_eq!(parameter("ServerAddress").map(|found| found.name), Some("serveraddress"));
        assert_eq!(parameter("bundlepolicy").map(|found| found.name), Some("bundlePolicy"));
    }

    #[test]
    fn leaving_a_word_early_changes_no_distance() {
        let names: Vec<&str> = parameters().map(|parameter| parameter.name).collect();
        for (at, name) in names.iter().enumerate().step_by(3) {
            // With two letters swapped, which is what reaches back two rows.
            let mut wrong = name.as_bytes().to_vec();
            if at % 2 == 0 && wrong.len() > 3 {
                wrong.swap(1, 2);
            }
            for other in names.iter().step_by(2) {
                let whole = distance(&wrong, other.as_bytes(), usize::MAX).unwrap();
                for furthest in 1..=4 {
                    let told = distance(&wrong, other.as_bytes(), furthest);
                    assert_eq!(told, Some(whole).filter(|whole| *whole <= furthest), "{name} {other}");
                }
            }
        }
    }

    #[test]
    fn the_nearest_name_is_found_or_none() {
        for (wrong, right) in [
            ("serveradress", "serveraddress"),
            ("sreveraddress", "serveraddress"),
            ("pasword", "password"),
            ("Usernme", "username"),
            ("mediaencription", "mediaencryption"),
        ] {
            assert_eq!(nearest(wrong), Some(right));
        }
        assert_eq!(nearest("completelyelse"), None);
        assert_eq!(nearest(""), None);
        assert_eq!(nearest(&"x".repeat(60_000)), None);
    }
}
