//! Test messages of the RFCs and how each is to be graded.
