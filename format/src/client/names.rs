//! Bits and numbers of rows, with their documented names.

/// Declares groups of bits with their documented names.
macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident: $inner:ty { $($(#[$flag_doc:meta])* $flag:ident = $bit:literal $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub struct $name;

            impl $name {
                $($(#[$flag_doc])* pub const $flag: $inner = 1 << $bit;)*
                /// All bits that mean something.
                pub const ALL: $inner = $(Self::$flag)|*;
                /// Names of the bits, as people and scripts see them.
                pub const NAMES: &'static [(&'static str, $inner)] = &[$(($text, Self::$flag),)*];
            }
        )*
    };
}

flags! {
    /// Flags of an account, as TigerBeetle numbers them.
    AccountFlags: u16 {
        /// Succeeds or fails together with the next event of the request.
        LINKED = 0 "linked",
        /// Debits may not exceed credits.
        DEBITS_MUST_NOT_EXCEED_CREDITS = 1 "debits_must_not_exceed_credits",
        /// Credits may not exceed debits.
        CREDITS_MUST_NOT_EXCEED_DEBITS = 2 "credits_must_not_exceed_debits",
        /// Its balances after each transfer can be asked for.
        HISTORY = 3 "history",
        /// It brings a timestamp of the past.
        IMPORTED = 4 "imported",
        /// It takes no transfers but voids.
        CLOSED = 5 "closed",
    }

    /// Flags of a transfer, as TigerBeetle numbers them.
    TransferFlags: u16 {
        /// Succeeds or fails together with the next event of the request.
        LINKED = 0 "linked",
        /// First phase of two: reserves money.
        PENDING = 1 "pending",
        /// Moves what a pending transfer reserved, or part of it.
        POST_PENDING_TRANSFER = 2 "post_pending_transfer",
        /// Releases what a pending transfer reserved.
        VOID_PENDING_TRANSFER = 3 "void_pending_transfer",
        /// Moves at most what makes the debit account's debits equal its credits.
        BALANCING_DEBIT = 4 "balancing_debit",
        /// Moves at most what makes the credit account's credits equal its debits.
        BALANCING_CREDIT = 5 "balancing_credit",
        /// Closes the debit account.
        CLOSING_DEBIT = 6 "closing_debit",
        /// Closes the credit account.
        CLOSING_CREDIT = 7 "closing_credit",
        /// It brings a timestamp of the past.
        IMPORTED = 8 "imported",
    }

    /// Flags of an account filter, as TigerBeetle numbers them.
    AccountFilterFlags: u32 {
        /// With transfers that debit the account.
        DEBITS = 0 "debits",
        /// With transfers that credit the account.
        CREDITS = 1 "credits",
        /// The latest first.
        REVERSED = 2 "reversed",
    }

    /// Flags of a query filter, as TigerBeetle numbers them.
    QueryFilterFlags: u32 {
        /// The latest first.
        REVERSED = 0 "reversed",
    }

    /// What a change of an account's terms is about.
    AccountChange: u32 {
        /// Sets the overdraft limit.
        SET_OVERDRAFT_LIMIT = 0 "set_overdraft_limit",
        /// Takes the overdraft limit away.
        CLEAR_OVERDRAFT_LIMIT = 1 "clear_overdraft_limit",
        /// Sets what is frozen: all of it, so that zero lifts every freeze.
        SET_FREEZE = 2 "set_freeze",
    }

    /// What of an account is frozen.
    Freeze: u32 {
        /// Nothing debits it.
        DEBITS = 0 "debits",
        /// Nothing credits it.
        CREDITS = 1 "credits",
    }
}

/// Declares numbered choices with their names.
macro_rules! choices {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $text:literal,)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            #[repr(u32)]
            pub enum $name {
                $($(#[$variant_doc])* $variant = $number,)*
            }

            impl $name {
                /// All of them.
                pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

                /// The choice of that number, if there is one.
                pub const fn from_number(number: u32) -> Option<Self> {
                    match number {
                        $($number => Some(Self::$variant),)*
                        _ => None,
                    }
                }

                /// Its name, as people and scripts see it.
                pub const fn name(self) -> &'static str {
                    match self {
                        $(Self::$variant => $text,)*
                    }
                }
            }
        )*
    };
}

choices! {
    /// What became of a transfer id.
    OutcomeState {
        /// Nothing yet: a delayed request may still bring it. Burn the id to make this final.
        Unknown = 0 "unknown",
        /// It is a transfer.
        Committed = 1 "committed",
        /// It can never become a transfer.
        Rejected = 2 "rejected",
    }

    /// What counts in a statement or in a balance of the past.
    Span {
        /// Nanoseconds.
        Timestamp = 0 "timestamp",
        /// Business dates as YYYYMMDD.
        BusinessDate = 1 "business_date",
        /// Positions of the log: up to one stands what batches hold that end there or before; from
        /// one on, what those hold that start there or behind.
        Lsn = 2 "lsn",
    }

    /// What a line of a statement is.
    LineKind {
        /// A transfer of the account.
        Transfer = 0 "transfer",
        /// A pending transfer of the account expired.
        Expiry = 1 "expiry",
    }
}
