//! One row of the scoreboard.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a figure is held against.
#[derive(Clone, Copy)]
pub enum Goal {
    /// Ours is at most this share of the peer's.
    OfPeer(f64),
    /// Ours is at most this.
    AtMost(f64),
    /// Ours is at least this.
    AtLeast(f64),
    /// Ours is above the peer's by at least this.
    AbovePeer(f64),
    /// The figure is told and held against nothing.
    Told,
}

/// Of a goal that the gateway's own stage has; this stage only measures it.
pub const OF_B: &str = "(goal of B)";

/// What was found for one metric.
pub struct Row {
    number: &'static str,
    metric: String,
    unit: &'static str,
    outcome: Outcome,
    goal: Goal,
    remark: &'static str,
}

enum Outcome {
    /// Ours, the peer's under its name, and the median of the pairs' ratios.
    Measured { ours: f64, peer: f64, ratio: f64, against: &'static str },
    /// Ours alone.
    Alone(f64),
    /// Nothing, and why.
    Absent(String),
}

/// The median; 0 of nothing.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

impl Row {
    /// From pairs (ours, the peer's) that were measured in turns.
    pub fn of_pairs(
        number: &'static str,
        metric: impl Into<String>,
        unit: &'static str,
        against: &'static str,
        goal: Goal,
        pairs: &[(f64, f64)],
    ) -> Row {
        let of = |pick: fn(&(f64, f64)) -> f64| median(pairs.iter().map(pick).collect());
        let outcome = if pairs.is_empty() {
            Outcome::Absent("no pair was measured".into())
        } else {
            let ratio = of(|pair| pair.0 / pair.1);
            Outcome::Measured { ours: of(|pair| pair.0), peer: of(|pair| pair.1), ratio, against }
        };
        Row { number, metric: metric.into(), unit, outcome, goal, remark: "" }
    }

    /// From our figures alone.
    pub fn alone(
        number: &'static str,
        metric: impl Into<String>,
        unit: &'static str,
        goal: Goal,
        ours: Vec<f64>,
    ) -> Row {
        let outcome = match ours.len() {
            0 => Outcome::Absent("nothing was measured".into()),
            _ => Outcome::Alone(median(ours)),
        };
        Row { number, metric: metric.into(), unit, outcome, goal, remark: "" }
    }

    /// A row without a figure.
    pub fn absent(number: &'static str, metric: impl Into<String>, why: impl Into<String>) -> Row {
        let outcome = Outcome::Absent(why.into());
        Row { number, metric: metric.into(), unit: "", outcome, goal: Goal::Told, remark: "" }
    }

    /// With a word on the goal: that it is a later stage's, or ours and not the scoreboard's.
    #[must_use]
    pub fn remark(mut self, remark: &'static str) -> Row {
        self.remark = remark;
        self
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
            vec![Row::absent(number, metric, text.chars().take(200).collect::<String>())]
        })
    }

    /// `met`, or `missed` and by how much; nothing where there is no figure or no goal.
    fn verdict(&self) -> String {
        let (ours, peer, ratio) = match &self.outcome {
            Outcome::Measured { ours, peer, ratio, .. } => (*ours, *peer, *ratio),
            Outcome::Alone(ours) => (*ours, f64::NAN, f64::NAN),
            Outcome::Absent(why) => return format!("not measured: {why}"),
        };
        let at_most = |value: f64, goal: f64| match value <= goal {
            true => "met".to_owned(),
            false if goal > 0.0 => format!("missed by {:.2}x", value / goal),
            false => format!("missed by {}", short(value)),
        };
        let at_least = |value: f64, goal: f64| match value >= goal {
            true => "met".to_owned(),
            false => format!("missed by {}", short(goal - value)),
        };
        match self.goal {
            Goal::OfPeer(goal) => at_most(ratio, goal),
            Goal::AtMost(goal) => at_most(ours, goal),
            Goal::AtLeast(goal) => at_least(ours, goal),
            Goal::AbovePeer(goal) => at_least(ours - peer, goal),
            Goal::Told => "told only".to_owned(),
        }
    }

    /// The row's cells: number, metric, ours, peer, ratio, goal, verdict.
    pub fn cells(&self) -> [String; 7] {
        let (ours, peer, ratio) = match &self.outcome {
            Outcome::Measured { ours, peer, ratio, against } => {
                // A peer's figure may be zero.
                let ratio = if ratio.is_finite() { format!("{ratio:.2}") } else { "-".to_owned() };
                (short(*ours), format!("{against} {}", short(*peer)), ratio)
            }
            Outcome::Alone(ours) => (short(*ours), String::new(), String::new()),
            Outcome::Absent(_) => Default::default(),
        };
        let ours = if ours.is_empty() { ours } else { format!("{ours} {}", self.unit).trim_end().to_owned() };
        let goal = match self.goal {
            Goal::OfPeer(goal) => format!("<= {}x", (goal * 100.0).round() / 100.0),
            Goal::AtMost(goal) => format!("<= {}", short(goal)),
            Goal::AtLeast(goal) => format!(">= {}", short(goal)),
            Goal::AbovePeer(goal) => format!(">= +{goal}"),
            Goal::Told => String::new(),
        };
        let goal = if self.remark.is_empty() { goal } else { format!("{goal} {}", self.remark) };
        [
            self.number.to_owned(),
            self.metric.clone(),
            ours,
            peer,
            ratio,
            goal.trim().to_owned(),
            self.verdict(),
        ]
    }

    /// The row as a line of text.
    pub fn line(&self) -> String {
        let [number, metric, ours, peer, ratio, goal, verdict] = self.cells();
        format!("{number:>3}  {metric:<58} {ours:>13}  {peer:<17} {ratio:>6}  {goal:<22} {verdict}")
    }

    /// The row as a line of a Markdown table.
    pub fn markdown(&self) -> String {
        format!("| {} |", self.cells().join(" | "))
    }
}

/// The head of the board.
pub fn head() -> String {
    let [number, metric, ours, peer, ratio, goal] = ["#", "metric", "ours", "peer", "ratio", "goal"];
    format!("{number:>3}  {metric:<58} {ours:>13}  {peer:<17} {ratio:>6}  {goal:<22} verdict")
}

/// Three digits that count, or all before the point.
fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_by_how_much() {
        let row = |goal, ours| Row::of_pairs("1", "m", "ms", "peer", goal, &[(ours, 10.0)]).line();
        assert!(row(Goal::OfPeer(0.5), 4.0).ends_with(" met"));
        assert!(row(Goal::OfPeer(0.5), 10.0).ends_with(" missed by 2.00x"));
        assert!(row(Goal::AbovePeer(0.75), 10.5).ends_with(" missed by 0.25"));
        assert!(row(Goal::AbovePeer(0.75), 11.0).ends_with(" met"));
        let alone = |goal, ours| Row::alone("1", "m", "", goal, vec![ours]).line();
        assert!(alone(Goal::AtMost(0.0), 3.0).ends_with(" missed by 3.00"));
        assert!(alone(Goal::AtLeast(4.0), 3.5).ends_with(" missed by 0.50"));
        assert!(alone(Goal::AtMost(0.0), 0.0).ends_with(" met"));
    }

    #[test]
    fn what_fails_is_a_row_and_not_an_end() {
        let failed = Row::measured("2", "n", || panic!("no such peer"));
        assert!(failed[0].line().ends_with("not measured: no such peer"));
        assert!(Row::of_pairs("1", "m", "ms", "peer", Goal::Told, &[]).line().contains("not measured"));
    }

    #[test]
    fn the_median_of_pairs_is_the_ratios_and_not_of_the_sums() {
        let row =
            Row::of_pairs("1", "m", "", "peer", Goal::OfPeer(1.0), &[(1.0, 2.0), (9.0, 3.0), (1.0, 4.0)]);
        assert_eq!(row.cells()[4], "0.50");
        assert!((median(vec![4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
    }
}
