//! `X-Settings` in the 200 to a REGISTER: `grant=serial` or `grant=revoked`, separated by commas.

/// The header field.
pub const SETTINGS_FIELD: &str = "X-Settings";
/// Grants that are read of one field.
const MOST: usize = 64;

/// What a registrar says of a grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// The newest settings have this serial.
    Serial(u32),
    /// They were withdrawn.
    Revoked,
}

impl News {
    /// What a field says of this grant; `None`: nothing.
    pub fn of(field: &str, grant: &str) -> Option<News> {
        let pairs = field.split(',').take(MOST).filter_map(|pair| pair.trim().split_once('='));
        let (_, said) = pairs.into_iter().find(|(name, _)| *name == grant)?;
        if said == "revoked" { Some(News::Revoked) } else { said.parse().ok().map(News::Serial) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_of_ones_own_grant_are_found_and_garbage_is_none() {
        let field = "other=7, mine=3 ,gone=revoked";
        assert_eq!(News::of(field, "mine"), Some(News::Serial(3)));
        assert_eq!(News::of(field, "gone"), Some(News::Revoked));
        for (field, grant) in
            [(field, "none"), ("mine", "mine"), ("mine=x", "mine"), ("mine=-1", "mine"), ("", "")]
        {
            assert_eq!(News::of(field, grant), None, "{field}");
        }
    }
}
