//! One row of the scoreboard.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What was found for one metric.
pub struct Row {
    number: &'static str,
    metric: &'static str,
    outcome: Outcome,
}

enum Outcome {
    /// Ours and the peer's in `unit`, and the largest ratio of ours to the peer's that meets the goal.
    Measured { ours: f64, peer: f64, ratio: f64, unit: &'static str, against: &'static str, goal: f64 },
    /// Ours alone, and the largest figure that meets the goal.
    Alone { ours: f64, unit: &'static str, goal: f64 },
    /// Nothing, and why.
    Absent(String),
}

/// The median; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

impl Row {
    /// From pairs (ours, the peer's) that were measured in turns.
    pub fn of_pairs(
        number: &'static str,
        metric: &'static str,
        unit: &'static str,
        against: &'static str,
        goal: f64,
        pairs: &[(f64, f64)],
    ) -> Row {
        let of = |pick: fn(&(f64, f64)) -> f64| median(pairs.iter().map(pick).collect());
        let outcome = if pairs.is_empty() {
            Outcome::Absent("no pair was measured".into())
        } else {
            let ratio = of(|pair| pair.0 / pair.1);
            Outcome::Measured { ours: of(|pair| pair.0), peer: of(|pair| pair.1), ratio, unit, against, goal }
        };
        Row { number, metric, outcome }
    }

    /// From our figures alone.
    pub fn alone(
        number: &'static str,
        metric: &'static str,
        unit: &'static str,
        goal: f64,
        ours: Vec<f64>,
    ) -> Row {
        Row { number, metric, outcome: Outcome::Alone { ours: median(ours), unit, goal } }
    }

    /// A row without a figure.
    pub fn absent(number: &'static str, metric: &'static str, why: impl Into<String>) -> Row {
        Row { number, metric, outcome: Outcome::Absent(why.into()) }
    }

    /// Measures; what fails becomes a row that says so instead of ending the board.
    pub fn measured(
        number: &'static str,
        metric: &'static str,
        measure: impl FnOnce() -> Vec<Row>,
    ) -> Vec<Row> {
        catch_unwind(AssertUnwindSafe(measure)).unwrap_or_else(|cause| {
            let text = cause
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| cause.downcast_ref::<&str>().copied());
            let text = text.unwrap_or("no reason given").lines().next().unwrap_or_default();
            vec![Row::absent(number, metric, format!("could not be measured: {:.160}", text))]
        })
    }

    /// The row as a line of text.
    pub fn line(&self) -> String {
        let verdict = |value: f64, goal: f64| {
            if value <= goal { "met".to_owned() } else { format!("missed by {:.2}x", value / goal) }
        };
        let head = format!("{:>3}  {:<52}", self.number, self.metric);
        match &self.outcome {
            Outcome::Measured { ours, peer, ratio, unit, against, goal } => format!(
                "{head} {ours:>9.2} {unit:<5} {against} {peer:.2}, ratio {ratio:.2} (goal {goal:.2}): {}",
                verdict(*ratio, *goal)
            ),
            Outcome::Alone { ours, unit, goal } => {
                format!("{head} {ours:>9.2} {unit:<5} (goal {goal:.2}): {}", verdict(*ours, *goal))
            }
            Outcome::Absent(why) => format!("{head} not measured: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_by_how_much() {
        let row = |ours| Row::of_pairs("1", "m", "ms", "peer", 0.5, &[(ours, 10.0)]).line();
        assert!(row(4.0).ends_with(": met"));
        assert!(row(10.0).ends_with(": missed by 2.00x"));
        let failed = Row::measured("2", "n", || panic!("no such peer"));
        assert!(failed[0].line().ends_with("not measured: could not be measured: no such peer"));
        assert!(Row::of_pairs("1", "m", "ms", "peer", 0.5, &[]).line().contains("not measured"));
    }
}
