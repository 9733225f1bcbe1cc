//! One INVITE session's life; asks for session descriptions and knows no codec.
