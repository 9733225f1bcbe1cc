//! The wake's timeline as a chart for the terminal.

use std::fmt::Write;

/// One leg: its name and when it was reached, in milliseconds since the INVITE came to the gateway.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Leg {
    /// Its name for programs.
    pub(crate) key: &'static str,
    /// What happened.
    pub(crate) name: &'static str,
    /// When.
    pub(crate) at_ms: f64,
}

/// Bars from each leg to the next, `width` columns for the whole span.
pub(crate) fn draw(legs: &[Leg], width: usize) -> String {
    let mut chart = String::new();
    let end = legs.last().map_or(0.0, |leg| leg.at_ms).max(f64::MIN_POSITIVE);
    let label = legs.iter().map(|leg| leg.name.chars().count()).max().unwrap_or(0);
    let column = |at: f64| ((at / end) * width as f64).round() as usize;
    let mut before = 0.0;
    for leg in legs {
        let (from, to) = (column(before), column(leg.at_ms));
        let bar = "█".repeat((to - from.min(to)).max(1));
        // Writing to a String cannot fail.
        let _ = writeln!(
            chart,
            "  {:<label$} {:>8.1} ms  {}{bar}",
            leg.name,
            leg.at_ms,
            " ".repeat(from.min(to))
        );
        before = leg.at_ms;
    }
    chart
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_follow_one_another_to_the_full_width() {
        let legs = [("INVITE", 0.0), ("push sent", 10.0), ("180", 40.0)];
        let legs = legs.map(|(name, at_ms)| Leg { key: name, name, at_ms });
        let chart = draw(&legs, 20);
        let lines: Vec<&str> = chart.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[1].contains("10.0 ms  █████") && !lines[1].contains("██████"), "{chart}");
        assert!(lines[2].ends_with(&format!("{}{}", " ".repeat(5), "█".repeat(15))), "{chart}");
        assert_eq!(draw(&[], 20), "");
    }
}
