//! The template in the stages of each executor: success, failure, cancellation, timeouts, and what the log holds then.
