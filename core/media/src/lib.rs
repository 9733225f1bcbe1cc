//! One audio stream and the mixer: samples in, samples out.
