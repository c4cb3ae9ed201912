//! What the operator may weigh: how much a reload hurts, how much waiting hurts, how far ahead is looked.

/// Weights and times of the policy. The defaults were chosen by replaying traces (`benchmarks/placement.md`).
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Weight of a second of reloading; 0 and above.
    pub regret_weight: f64,
    /// Weight of a second for which one request waits; above 0.
    pub waiting_weight: f64,
    /// A reuse counts when it is expected within this many seconds; above 0.
    pub horizon_s: f64,
    /// Time constant in seconds with which a request rate decays once nothing more is told; above 0.
    pub decay_s: f64,
    /// Bytes that a load reads in a second, where no load of the model was measured; above 0.
    pub reload_bytes_per_s: f64,
    /// Acting now must be better than waiting by this share of the regret; 0 and above.
    pub hysteresis: f64,
    /// The longest wait in seconds that an eviction is ever thought to save; above 0.
    pub longest_wait_s: f64,
    /// Seconds until the memory of a leaving model is expected back; 0 and above.
    pub release_s: f64,
    /// How long a model is protected from the one that it displaced, in its own reload times; 0: not at all.
    pub turn: f64,
    /// A turn ends early when the model was idle for this many of its reload times; 0 and above.
    pub turn_idle: f64,
    /// The longest turn in seconds.
    pub longest_turn_s: f64,
    /// A model that is never idle is drained for a request that waited so many seconds; infinite: never.
    pub drain_after_s: f64,
    /// How many seconds what runs on a model that is drained has to end.
    pub drain_grace_s: f64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            regret_weight: 1.0,
            waiting_weight: 1.0,
            horizon_s: 300.0,
            decay_s: 600.0,
            reload_bytes_per_s: 500e6,
            hysteresis: 0.1,
            longest_wait_s: 600.0,
            release_s: 1.0,
            turn: 4.0,
            turn_idle: 0.5,
            longest_turn_s: 120.0,
            drain_after_s: 60.0,
            drain_grace_s: 60.0,
        }
    }
}
