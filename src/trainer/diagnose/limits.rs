//! The thresholds of the diagnoses, with their reasons.

/// Steps that are looked at together: one batch proves nothing, and short runs must still be
/// diagnosed.
pub const WINDOW: usize = 20;

/// The later half of them.
pub const HALF_WINDOW: usize = WINDOW / 2;

/// Steps that a stage which ends before a window is full is judged by, at its end: of 8 steps with a
/// warm-up and a cosine's tail, five stand at half the peak rate.
pub const SHORT_WINDOW: usize = 4;

/// Equal steps in a row that are no accident. More than 2, as DPO's first step after a warm-up step
/// of rate 0 is at policy == reference by right.
pub const REPEATS: usize = 5;

/// A warm-up takes the first of them, a cosine the last: fewer steps leave weights where they were.
pub const FEW_STEPS: usize = 5;

/// Exploded steps in a row: one spike is a rare token, and clipping takes care of it.
pub const IN_A_ROW: usize = 3;

/// How near ln 2 the mean loss of half a window is when nothing was learnt: 0.005 is a mean DPO
/// margin of 0.01, which a working run passes within 20 steps at full learning rate.
pub const LN2_STUCK: f64 = 0.005;

/// How far a single batch may stray meanwhile: beyond, the model has opinions and the mean is an
/// accident.
pub const LN2_NOISE: f64 = 0.05;

/// Over 1e8 weights a norm of 1e-6 is 1e-10 each: below AdamW's epsilon of 1e-8, so that the
/// weights stand still.
pub const VANISHED: f64 = 1e-6;

/// A loss that only pairs far apart have: -ln sigmoid of a margin of 7.
pub const SETTLED_LOSS: f64 = 1e-3;

/// How many times its usual norm an exploded gradient has.
pub const EXPLODED_TIMES: f64 = 10.0;

/// A norm below the usual max_grad_norm is left alone: ten times little is little.
pub const EXPLODED_LEAST: f64 = 1.0;

/// Rewards nearer than f32 resolves around 1 are equal.
pub const EQUAL_REWARDS: f64 = 1e-7;

/// Equal pairs give ln 2 and no gradient; a tenth of them is a fault of the data and not chance.
pub const EQUAL_PAIRS_MANY: f64 = 0.1;

/// A few cut rows are in every data set.
pub const TRUNCATED_ROWS: f64 = 0.05;

/// With a quarter cut, the length limit decides what is learnt.
pub const TRUNCATED_MANY: f64 = 0.25;

/// Some rows may end open (cut sources); one in twenty is a habit the model picks up.
pub const UNENDED_ROWS: f64 = 0.05;

/// Half of the rows: the template does not close turns at all.
pub const UNENDED_MOST: f64 = 0.5;

/// As good as all responses run into the limit: the model or the engine does not know the marker.
pub const UNENDED_ALL: f64 = 0.99;

/// Fewer responses than this may all be long by chance.
pub const UNENDED_RESPONSES: usize = 8;

/// Length then explains a quarter (0.5 squared) of the reward. Published reward models lie at 0.06
/// to 0.19.
pub const LENGTH_CORRELATION: f64 = 0.5;

/// Below this many responses a correlation of 0.5 is within chance.
pub const LENGTH_RESPONSES: usize = 32;

/// Nats per response. Best of 16 costs 1.8, a round of DPO usually 5 to 20; at 50 the policy writes
/// what its start never would.
pub const KL_FAR: f64 = 50.0;

/// The KL of a round against the round before that is a leap, not a walk.
pub const KL_LEAP_TIMES: f64 = 3.0;

/// A leap below this is still near.
pub const KL_LEAP_LEAST: f64 = 20.0;

/// Nats that the chosen responses lose when a policy leaves even what it is told to write.
pub const FALL_NATS: f64 = 50.0;

/// The fall as a share of their log-prob, so that long responses, whose log-probs stray by more, do
/// not alarm.
pub const FALL_SHARE: f64 = 0.5;
