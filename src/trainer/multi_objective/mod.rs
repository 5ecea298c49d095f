//! A multi-objective reward model, fitted on the hidden states of a model that stays as it is (ArmoRM; Wang et al. 2024,
//! "Interpretable Preferences via Multi-Objective Reward Modeling and Mixture-of-Experts"):
//!
//! - [`ridge`]: a linear probe for each attribute, from ratings that may be missing
//! - [`debias`]: the matrix that takes one attribute, usually verbosity, out of the others
//! - [`gate`]: the network that weighs the attributes by the prompt
//! - [`tree`]: a shallow decision tree over their differences

pub mod debias;
pub mod gate;
pub mod ridge;
pub mod tree;
