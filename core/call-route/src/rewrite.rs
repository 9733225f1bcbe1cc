//! `numpxrewrite`: rules that change the start of a number (B-132).

/// Rules that are read at most.
const MAX_RULES: usize = 256;

/// One rule: `prefix,replacement,shortest,longest`; the last two may be missing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RewriteRule {
    /// What a number starts with; empty for every number.
    pub prefix: String,
    /// What stands there instead.
    pub replacement: String,
    /// The length of numbers, prefix included, from which on the rule holds.
    pub shortest: usize,
    /// The length up to which it holds.
    pub longest: usize,
}

impl RewriteRule {
    /// Reads rules separated by semicolons. What is no rule is passed over.
    pub fn read_all(text: &str) -> Vec<RewriteRule> {
        text.split(';').filter_map(RewriteRule::read).take(MAX_RULES).collect()
    }

    fn read(text: &str) -> Option<RewriteRule> {
        let fields: Vec<&str> = text.split(',').map(str::trim).collect();
        let (prefix, replacement, bounds) = match fields[..] {
            [prefix, replacement, ref bounds @ ..] if bounds.len() <= 2 => (prefix, replacement, bounds),
            _ => return None,
        };
        let plain =
            |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+*#".contains(&byte));
        if !plain(prefix) || !plain(replacement) || (prefix.is_empty() && replacement.is_empty()) {
            return None;
        }
        // A bound that is empty or 0 is none.
        let bound = |place: usize, none: usize| match bounds.get(place).copied().unwrap_or("") {
            "" | "0" => Some(none),
            digits => digits.parse().ok(),
        };
        let (shortest, longest) = (bound(0, 0)?, bound(1, usize::MAX)?);
        Some(RewriteRule {
            prefix: prefix.to_owned(),
            replacement: replacement.to_owned(),
            shortest,
            longest,
        })
    }

    /// The number as this rule changes it; `None` when the rule does not hold for it.
    pub fn apply(&self, number: &str) -> Option<String> {
        let rest = number.strip_prefix(self.prefix.as_str())?;
        (self.shortest..=self.longest)
            .contains(&number.chars().count())
            .then(|| format!("{}{rest}", self.replacement))
    }
}

/// The number as the first rule that holds changes it.
pub(crate) fn rewritten(rules: &[RewriteRule], number: String) -> String {
    rules.iter().find_map(|rule| rule.apply(&number)).unwrap_or(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b132_the_first_rule_that_holds_counts() {
        let rules = RewriteRule::read_all("06,+36,9,12; 0,+49 ;+36,0036,,;,9,3,3");
        assert_eq!(rules.len(), 4);
        for (number, expected) in [
            ("0612345678", "+3612345678"),
            ("0612345", "+49612345"),
            ("061234567890123", "+4961234567890123"),
            ("+361234", "00361234"),
            ("123", "9123"),
            ("1234", "1234"),
        ] {
            assert_eq!(rewritten(&rules, number.to_owned()), expected, "{number}");
        }
    }

    #[test]
    fn what_is_no_rule_is_passed_over() {
        for bad in ["", "0", "0,1,x", "0,1,2,3,4", "0,<sip:>", "a b,1", ",", "0,1,-2"] {
            assert_eq!(RewriteRule::read_all(bad), [], "{bad}");
        }
        assert_eq!(RewriteRule::read_all(&"0,1;".repeat(5000)).len(), MAX_RULES);
    }
}
