//! Faults of the machines themselves, played on purpose: a rule that cannot fail proves nothing.

/// What does not work as it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// This phone's REGISTERs do not leave.
    NoRegister(usize),
    /// This phone sends its REGISTERs twenty seconds late.
    LateRegister(usize),
    /// This phone does not hear CANCEL.
    DeafToCancel(usize),
    /// This phone hears an INVITE ten seconds late, behind its CANCEL.
    LateInvite(usize),
    /// This phone rings twice for every call.
    RingsTwice(usize),
    /// This phone tells every end of a call twice.
    EndsTwice(usize),
    /// This phone keeps its calls: it neither hears BYE nor hangs up.
    KeepsCalls(usize),
    /// This phone's answers to calls do not leave.
    LosesAnswer(usize),
    /// This phone's 180 carries its push token.
    LeaksToken(usize),
    /// The gateway keeps final responses to INVITEs back.
    NoFinal,
    /// The gateway sends another final response behind every one that is no 2xx.
    TwoFinals,
    /// The gateway sends every final response to an INVITE twice, streams or not.
    FinalTwice,
    /// The gateway forwards every INVITE twice.
    ForksTwice,
    /// The gateway's timers are not served.
    NoTimers,
}
