//! How each event of a request ended: names and numbers as TigerBeetle documents them.
//!
//! Variants stand in order of precedence: where several apply, the first is the answer. What
//! goes beyond the documented model has numbers from 1001 on, so that neither list ever gets in
//! the way of the other. A number that is not here is read as `None`, never guessed.

/// Declares an enum of results with their numbers and snake-case names.
macro_rules! results {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// All of them, in order of precedence.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its number, in replies and in records.
            pub const fn number(self) -> u32 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }

            /// The result of that number, if there is one.
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

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

results!(
    /// How the opening of one account ended.
    CreateAccountResult {
        /// It was opened. Not zero, so that zeroed bytes never read as a success.
        Created = 0xffff_ffff "created",
        /// Another event of its chain failed.
        LinkedEventFailed = 1 "linked_event_failed",
        /// The last event of the request is linked to a next one.
        LinkedEventChainOpen = 2 "linked_event_chain_open",
        /// The request began with an imported event, this is none.
        ImportedEventExpected = 22 "imported_event_expected",
        /// The request did not begin with an imported event, this is one.
        ImportedEventNotExpected = 23 "imported_event_not_expected",
        /// The timestamp is given by the log, not by the client.
        TimestampMustBeZero = 3 "timestamp_must_be_zero",
        /// An imported timestamp of zero or from 2^63 on.
        ImportedEventTimestampOutOfRange = 24 "imported_event_timestamp_out_of_range",
        /// An imported timestamp later than log time.
        ImportedEventTimestampMustNotAdvance = 25 "imported_event_timestamp_must_not_advance",
        /// A field that must be zero is not.
        ReservedField = 4 "reserved_field",
        /// A flag that is not documented.
        ReservedFlag = 5 "reserved_flag",
        /// Zero is no id.
        IdMustNotBeZero = 6 "id_must_not_be_zero",
        /// The largest integer is no id.
        IdMustNotBeIntMax = 7 "id_must_not_be_int_max",
        /// There is one of this id, with other flags.
        ExistsWithDifferentFlags = 15 "exists_with_different_flags",
        /// There is one of this id, with another `user_data_128`.
        ExistsWithDifferentUserData128 = 16 "exists_with_different_user_data_128",
        /// There is one of this id, with another `user_data_64`.
        ExistsWithDifferentUserData64 = 17 "exists_with_different_user_data_64",
        /// There is one of this id, with another `user_data_32`.
        ExistsWithDifferentUserData32 = 18 "exists_with_different_user_data_32",
        /// There is one of this id, in another ledger.
        ExistsWithDifferentLedger = 19 "exists_with_different_ledger",
        /// There is one of this id, with another code.
        ExistsWithDifferentCode = 20 "exists_with_different_code",
        /// It is there already, just as asked for: a retry may take it as success.
        Exists = 21 "exists",
        /// Two flags that contradict each other.
        FlagsAreMutuallyExclusive = 8 "flags_are_mutually_exclusive",
        /// Balances start at zero.
        DebitsPendingMustBeZero = 9 "debits_pending_must_be_zero",
        /// Balances start at zero.
        DebitsPostedMustBeZero = 10 "debits_posted_must_be_zero",
        /// Balances start at zero.
        CreditsPendingMustBeZero = 11 "credits_pending_must_be_zero",
        /// Balances start at zero.
        CreditsPostedMustBeZero = 12 "credits_posted_must_be_zero",
        /// Zero is no ledger.
        LedgerMustNotBeZero = 13 "ledger_must_not_be_zero",
        /// Zero is no code.
        CodeMustNotBeZero = 14 "code_must_not_be_zero",
        /// An imported timestamp not later than that of the account before.
        ImportedEventTimestampMustNotRegress = 26 "imported_event_timestamp_must_not_regress",
    }
);

results!(
    /// How one transfer ended.
    CreateTransferResult {
        /// It was posted. Not zero, so that zeroed bytes never read as a success.
        Created = 0xffff_ffff "created",
        /// Another event of its chain failed.
        LinkedEventFailed = 1 "linked_event_failed",
        /// The last event of the request is linked to a next one.
        LinkedEventChainOpen = 2 "linked_event_chain_open",
        /// The request began with an imported event, this is none.
        ImportedEventExpected = 56 "imported_event_expected",
        /// The request did not begin with an imported event, this is one.
        ImportedEventNotExpected = 57 "imported_event_not_expected",
        /// The timestamp is given by the log, not by the client.
        TimestampMustBeZero = 3 "timestamp_must_be_zero",
        /// An imported timestamp of zero or from 2^63 on.
        ImportedEventTimestampOutOfRange = 58 "imported_event_timestamp_out_of_range",
        /// An imported timestamp later than log time.
        ImportedEventTimestampMustNotAdvance = 59 "imported_event_timestamp_must_not_advance",
        /// A flag that is not documented.
        ReservedFlag = 4 "reserved_flag",
        /// Zero is no id.
        IdMustNotBeZero = 5 "id_must_not_be_zero",
        /// The largest integer is no id.
        IdMustNotBeIntMax = 6 "id_must_not_be_int_max",
        /// There is one of this id, with other flags.
        ExistsWithDifferentFlags = 36 "exists_with_different_flags",
        /// There is one of this id, that names another pending transfer.
        ExistsWithDifferentPendingId = 40 "exists_with_different_pending_id",
        /// There is one of this id, with another timeout.
        ExistsWithDifferentTimeout = 44 "exists_with_different_timeout",
        /// There is one of this id, with another debit account.
        ExistsWithDifferentDebitAccountId = 37 "exists_with_different_debit_account_id",
        /// There is one of this id, with another credit account.
        ExistsWithDifferentCreditAccountId = 38 "exists_with_different_credit_account_id",
        /// There is one of this id, with another amount.
        ExistsWithDifferentAmount = 39 "exists_with_different_amount",
        /// There is one of this id, with another `user_data_128`.
        ExistsWithDifferentUserData128 = 41 "exists_with_different_user_data_128",
        /// There is one of this id, with another `user_data_64`.
        ExistsWithDifferentUserData64 = 42 "exists_with_different_user_data_64",
        /// There is one of this id, with another `user_data_32`.
        ExistsWithDifferentUserData32 = 43 "exists_with_different_user_data_32",
        /// There is one of this id, in another ledger.
        ExistsWithDifferentLedger = 67 "exists_with_different_ledger",
        /// There is one of this id, with another code.
        ExistsWithDifferentCode = 45 "exists_with_different_code",
        /// There is one of this id, that reverses another transfer or none.
        ExistsWithDifferentReverses = 1001 "exists_with_different_reverses",
        /// There is one of this id, with another value date.
        ExistsWithDifferentValueDate = 1002 "exists_with_different_value_date",
        /// There is one of this id, of another business date.
        ExistsWithDifferentBusinessDate = 1003 "exists_with_different_business_date",
        /// It is there already, just as asked for: a retry may take it as success.
        Exists = 46 "exists",
        /// A transfer of this id failed for a reason that may pass, and stays failed for ever.
        IdAlreadyFailed = 68 "id_already_failed",
        /// Two flags that contradict each other.
        FlagsAreMutuallyExclusive = 7 "flags_are_mutually_exclusive",
        /// The value date is no date of the calendar.
        ValueDateMustBeValid = 1004 "value_date_must_be_valid",
        /// The business date is no date of the calendar.
        BusinessDateMustBeValid = 1005 "business_date_must_be_valid",
        /// The largest integer is no id.
        ReversesMustNotBeIntMax = 1006 "reverses_must_not_be_int_max",
        /// A transfer cannot reverse itself.
        ReversesMustBeDifferent = 1007 "reverses_must_be_different",
        /// Zero is no id.
        DebitAccountIdMustNotBeZero = 8 "debit_account_id_must_not_be_zero",
        /// The largest integer is no id.
        DebitAccountIdMustNotBeIntMax = 9 "debit_account_id_must_not_be_int_max",
        /// Zero is no id.
        CreditAccountIdMustNotBeZero = 10 "credit_account_id_must_not_be_zero",
        /// The largest integer is no id.
        CreditAccountIdMustNotBeIntMax = 11 "credit_account_id_must_not_be_int_max",
        /// An account cannot pay itself.
        AccountsMustBeDifferent = 12 "accounts_must_be_different",
        /// Only a post or void names a pending transfer.
        PendingIdMustBeZero = 13 "pending_id_must_be_zero",
        /// A post or void names its pending transfer.
        PendingIdMustNotBeZero = 14 "pending_id_must_not_be_zero",
        /// The largest integer is no id.
        PendingIdMustNotBeIntMax = 15 "pending_id_must_not_be_int_max",
        /// A transfer cannot post or void itself.
        PendingIdMustBeDifferent = 16 "pending_id_must_be_different",
        /// Only a pending transfer can time out.
        TimeoutReservedForPendingTransfer = 17 "timeout_reserved_for_pending_transfer",
        /// A transfer that closes an account must be pending, so that it can be undone.
        ClosingTransferMustBePending = 64 "closing_transfer_must_be_pending",
        /// No longer given: an amount of zero is allowed.
        AmountMustNotBeZero = 18 "amount_must_not_be_zero",
        /// Zero is no ledger.
        LedgerMustNotBeZero = 19 "ledger_must_not_be_zero",
        /// Zero is no code.
        CodeMustNotBeZero = 20 "code_must_not_be_zero",
        /// No such account. May pass: the id is burned.
        DebitAccountNotFound = 21 "debit_account_not_found",
        /// No such account. May pass: the id is burned.
        CreditAccountNotFound = 22 "credit_account_not_found",
        /// The two accounts are of different ledgers.
        AccountsMustHaveTheSameLedger = 23 "accounts_must_have_the_same_ledger",
        /// Both accounts are of another ledger than the transfer says.
        TransferMustHaveTheSameLedgerAsAccounts = 24 "transfer_must_have_the_same_ledger_as_accounts",
        /// No such pending transfer. May pass: the id is burned.
        PendingTransferNotFound = 25 "pending_transfer_not_found",
        /// The named transfer was not a pending one.
        PendingTransferNotPending = 26 "pending_transfer_not_pending",
        /// The pending transfer has another debit account.
        PendingTransferHasDifferentDebitAccountId = 27 "pending_transfer_has_different_debit_account_id",
        /// The pending transfer has another credit account.
        PendingTransferHasDifferentCreditAccountId = 28 "pending_transfer_has_different_credit_account_id",
        /// The pending transfer is of another ledger.
        PendingTransferHasDifferentLedger = 29 "pending_transfer_has_different_ledger",
        /// The pending transfer has another code.
        PendingTransferHasDifferentCode = 30 "pending_transfer_has_different_code",
        /// More than is pending.
        ExceedsPendingTransferAmount = 31 "exceeds_pending_transfer_amount",
        /// A void is of the whole amount.
        PendingTransferHasDifferentAmount = 32 "pending_transfer_has_different_amount",
        /// The pending transfer was posted before.
        PendingTransferAlreadyPosted = 33 "pending_transfer_already_posted",
        /// The pending transfer was voided before.
        PendingTransferAlreadyVoided = 34 "pending_transfer_already_voided",
        /// The pending transfer timed out before.
        PendingTransferExpired = 35 "pending_transfer_expired",
        /// No such transfer to reverse. May pass: the id is burned.
        ReversedTransferNotFound = 1008 "reversed_transfer_not_found",
        /// The transfer to reverse moved no money: it is pending, or voids one.
        ReversedTransferNotPosted = 1009 "reversed_transfer_not_posted",
        /// A reversal debits the account that its original credited.
        ReversedTransferHasDifferentDebitAccountId = 1010 "reversed_transfer_has_different_debit_account_id",
        /// A reversal credits the account that its original debited.
        ReversedTransferHasDifferentCreditAccountId = 1011 "reversed_transfer_has_different_credit_account_id",
        /// The transfer to reverse is of another ledger.
        ReversedTransferHasDifferentLedger = 1012 "reversed_transfer_has_different_ledger",
        /// More than its original moved.
        ExceedsReversedTransferAmount = 1013 "exceeds_reversed_transfer_amount",
        /// There is a reversal of that transfer.
        TransferAlreadyReversed = 1014 "transfer_already_reversed",
        /// That business date is closed.
        BusinessDateClosed = 1015 "business_date_closed",
        /// An imported timestamp not later than that of the transfer before.
        ImportedEventTimestampMustNotRegress = 60 "imported_event_timestamp_must_not_regress",
        /// An imported timestamp not later than the debit account's.
        ImportedEventTimestampMustPostdateDebitAccount = 61 "imported_event_timestamp_must_postdate_debit_account",
        /// An imported timestamp not later than the credit account's.
        ImportedEventTimestampMustPostdateCreditAccount = 62 "imported_event_timestamp_must_postdate_credit_account",
        /// An imported transfer cannot time out.
        ImportedEventTimeoutMustBeZero = 63 "imported_event_timeout_must_be_zero",
        /// The debit account is closed. May pass: the id is burned.
        DebitAccountAlreadyClosed = 65 "debit_account_already_closed",
        /// The credit account is closed. May pass: the id is burned.
        CreditAccountAlreadyClosed = 66 "credit_account_already_closed",
        /// Debits of the debit account are frozen. May pass: the id is burned.
        DebitAccountFrozen = 1016 "debit_account_frozen",
        /// Credits of the credit account are frozen. May pass: the id is burned.
        CreditAccountFrozen = 1017 "credit_account_frozen",
        /// The debit account's pending debits would not fit 128 bits.
        OverflowsDebitsPending = 47 "overflows_debits_pending",
        /// The credit account's pending credits would not fit 128 bits.
        OverflowsCreditsPending = 48 "overflows_credits_pending",
        /// The debit account's posted debits would not fit 128 bits.
        OverflowsDebitsPosted = 49 "overflows_debits_posted",
        /// The credit account's posted credits would not fit 128 bits.
        OverflowsCreditsPosted = 50 "overflows_credits_posted",
        /// The debit account's debits, pending and posted together, would not fit 128 bits.
        OverflowsDebits = 51 "overflows_debits",
        /// The credit account's credits, pending and posted together, would not fit 128 bits.
        OverflowsCredits = 52 "overflows_credits",
        /// It would time out later than can be told.
        OverflowsTimeout = 53 "overflows_timeout",
        /// The debit account's debits would exceed its credits. May pass: the id is burned.
        ExceedsCredits = 54 "exceeds_credits",
        /// The debit account's debits would exceed its credits by more than its overdraft limit.
        /// May pass: the id is burned.
        ExceedsOverdraftLimit = 1018 "exceeds_overdraft_limit",
        /// The credit account's credits would exceed its debits. May pass: the id is burned.
        ExceedsDebits = 55 "exceeds_debits",
        /// Only in records and outcomes: the id was burned by request before anything had it.
        Burned = 1019 "burned",
    }
);

results!(
    /// How one change of an account's terms ended.
    ChangeAccountResult {
        /// The terms are now as asked for.
        Changed = 0xffff_ffff "changed",
        /// A field that must be zero is not.
        ReservedField = 1 "reserved_field",
        /// A bit that this version does not know.
        ReservedFlag = 2 "reserved_flag",
        /// Nothing to change was named.
        NothingToChange = 3 "nothing_to_change",
        /// No such account.
        AccountNotFound = 4 "account_not_found",
        /// The account's terms are so already.
        Unchanged = 5 "unchanged",
    }
);

results!(
    /// How the close of a business date ended.
    CloseDayResult {
        /// The date is closed, the next one is current.
        Closed = 0xffff_ffff "closed",
        /// A field that must be zero is not.
        ReservedField = 1 "reserved_field",
        /// The date is no date of the calendar.
        DateMustBeValid = 2 "date_must_be_valid",
        /// The next date is no date of the calendar.
        NextDateMustBeValid = 3 "next_date_must_be_valid",
        /// The next date is not later than the date.
        NextDateMustBeLater = 4 "next_date_must_be_later",
        /// This date was closed before, with the same next one: a retry may take it as success.
        AlreadyClosed = 5 "already_closed",
        /// Another date is the current one.
        DateIsNotCurrent = 6 "date_is_not_current",
    }
);

results!(
    /// How the burning of one transfer id ended.
    BurnResult {
        /// No transfer can ever have this id.
        Burned = 0xffff_ffff "burned",
        /// Zero is no id.
        IdMustNotBeZero = 1 "id_must_not_be_zero",
        /// The largest integer is no id.
        IdMustNotBeIntMax = 2 "id_must_not_be_int_max",
        /// A transfer has it: it is committed.
        Exists = 3 "exists",
        /// It failed or was burned before, and stays so.
        AlreadyFailed = 4 "already_failed",
    }
);

impl CreateTransferResult {
    /// Whether the reason may pass with time. Such a failure burns the id, so that a retry can
    /// never end otherwise than the first attempt did.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::DebitAccountNotFound
                | Self::CreditAccountNotFound
                | Self::PendingTransferNotFound
                | Self::ExceedsCredits
                | Self::ExceedsDebits
                | Self::DebitAccountAlreadyClosed
                | Self::CreditAccountAlreadyClosed
                | Self::ReversedTransferNotFound
                | Self::DebitAccountFrozen
                | Self::CreditAccountFrozen
                | Self::ExceedsOverdraftLimit
        )
    }

    /// Whether a record may say that an id failed so: for a reason that may pass, or by request.
    pub const fn is_sticky(self) -> bool {
        self.is_transient() || matches!(self, Self::Burned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_are_dense_unique_and_read_back() {
        let accounts: BTreeSet<u32> = CreateAccountResult::ALL
            .iter()
            .map(|r| r.number())
            .collect();
        let expected: BTreeSet<u32> = (1..=26).chain([u32::MAX]).collect();
        assert_eq!(accounts, expected);
        let transfers: BTreeSet<u32> = CreateTransferResult::ALL
            .iter()
            .map(|r| r.number())
            .collect();
        let expected = (1..=68).chain(1001..=1019).chain([u32::MAX]);
        assert_eq!(transfers, expected.collect());
        for &result in CreateTransferResult::ALL {
            assert_eq!(
                CreateTransferResult::from_number(result.number()),
                Some(result)
            );
        }
        for &result in CreateAccountResult::ALL {
            assert_eq!(
                CreateAccountResult::from_number(result.number()),
                Some(result)
            );
        }
        assert_eq!(CreateTransferResult::from_number(0), None);
        assert_eq!(CreateAccountResult::from_number(0), None);
    }

    #[test]
    fn names_follow_the_variants() {
        let snake = |debug: String| {
            let mut name = String::new();
            let mut before = 'A';
            for c in debug.chars() {
                let word = c.is_ascii_uppercase() || c.is_ascii_digit() && !before.is_ascii_digit();
                if word && !name.is_empty() {
                    name.push('_');
                }
                name.push(c.to_ascii_lowercase());
                before = c;
            }
            name
        };
        for result in CreateTransferResult::ALL {
            assert_eq!(result.name(), snake(format!("{result:?}")));
        }
        for result in CreateAccountResult::ALL {
            assert_eq!(result.name(), snake(format!("{result:?}")));
        }
    }

    #[test]
    fn published_numbers_stay() {
        assert_eq!(CreateTransferResult::Exists.number(), 46);
        assert_eq!(CreateTransferResult::ExceedsCredits.number(), 54);
        assert_eq!(CreateTransferResult::ExceedsDebits.number(), 55);
        assert_eq!(CreateTransferResult::IdAlreadyFailed.number(), 68);
        assert_eq!(CreateAccountResult::Exists.number(), 21);
        assert_eq!(CreateTransferResult::Created.number(), u32::MAX);
    }
}
