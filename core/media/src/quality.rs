//! What a listener would say: a simplified E-model (ITU-T G.107).
//!
//! Of the model's terms only those change in a call that delay, loss and the codec bring; all others stand at their
//! default values, which leaves R = 93.2 - Id - Ie,eff.

/// The transmission rating of an undisturbed connection with default values (G.107 §7.7).
const UNDISTURBED: f32 = 93.2;

/// How a call sounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    /// Transmission rating, 0 to 100.
    pub r: f32,
    /// Mean opinion score, 1.0 to 4.5 (G.107 Annex B).
    pub mos: f32,
}

/// Rates a connection.
///
/// `delay_millis` is mouth to ear, one way; `loss` the share of packets (0 to 1) whose sound had to be made up;
/// `impairment` and `robustness` are the codec's Ie and Bpl (G.113 Appendix I); losses count as independent.
pub fn rate(delay_millis: f32, loss: f32, impairment: f32, robustness: f32) -> Rating {
    // Delay: a piece-wise linear form of Idd with its bend at 177.3 ms.
    let delay = delay_millis.clamp(0.0, 2_000.0);
    let by_delay = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    let percent = 100.0 * loss.clamp(0.0, 1.0);
    let by_codec = impairment + (95.0 - impairment) * percent / (percent + robustness.max(1.0));
    let r = (UNDISTURBED - by_delay - by_codec).clamp(0.0, 100.0);
    let mos = (1.0 + 0.035 * r + 7e-6 * r * (r - 60.0) * (100.0 - r)).clamp(1.0, 4.5);
    Rating { r, mos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_undisturbed_call_is_rated_as_the_recommendation_does() {
        let rating = rate(0.0, 0.0, 0.0, 25.1);
        assert!((rating.r - 93.2).abs() < 0.01 && (rating.mos - 4.41).abs() < 0.01, "{rating:?}");
    }

    #[test]
    fn delay_and_loss_lower_it_without_end_points_breaking() {
        let mut before = 5.0;
        for step in 0..=20 {
            let rating = rate(step as f32 * 50.0, step as f32 / 20.0, 0.0, 10.0);
            assert!(rating.mos <= before && rating.mos >= 1.0);
            before = rating.mos;
        }
        assert!((rate(150.0, 0.0, 0.0, 20.0).mos - 4.33).abs() < 0.03);
        assert!(rate(f32::MAX, 9.0, 0.0, 0.0).r >= 0.0);
    }
}
