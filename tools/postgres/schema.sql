-- A double-entry book as somebody would write it who knows PostgreSQL and wants it fast.
--
-- Ids are uuid, amounts bigint: half the width of what Kanjo keeps. No foreign keys, since the
-- functions touch both accounts anyway. Half of each page of accounts stays free, so that a new
-- balance lands beside the old one and no index changes.

CREATE TABLE accounts (
    id                             uuid     PRIMARY KEY,
    ledger                         integer  NOT NULL,
    code                           smallint NOT NULL,
    debits_must_not_exceed_credits boolean  NOT NULL DEFAULT false,
    credits_must_not_exceed_debits boolean  NOT NULL DEFAULT false,
    debits_posted                  bigint   NOT NULL DEFAULT 0,
    credits_posted                 bigint   NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

CREATE TABLE transfers (
    id                uuid        PRIMARY KEY,
    debit_account_id  uuid        NOT NULL,
    credit_account_id uuid        NOT NULL,
    amount            bigint      NOT NULL CHECK (amount > 0),
    posted_at         timestamptz NOT NULL DEFAULT now(),
    ledger            integer     NOT NULL,
    code              smallint    NOT NULL,
    CHECK (debit_account_id <> credit_account_id)
);

-- Posts one transfer. An id that is taken, or a rule that forbids it, is an error that leaves
-- nothing behind. An update takes its row's lock: always the lower id first, so that no two
-- transfers wait for each other in a circle.
CREATE FUNCTION post(
    transfer uuid, debit_account uuid, credit_account uuid, sum bigint, in_ledger integer, code smallint
) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    credit_first CONSTANT boolean := credit_account < debit_account;
BEGIN
    INSERT INTO transfers (id, debit_account_id, credit_account_id, amount, ledger, code)
        VALUES (transfer, debit_account, credit_account, sum, in_ledger, post.code);
    FOR turn IN 1..2 LOOP
        IF credit_first = (turn = 1) THEN
            UPDATE accounts SET credits_posted = credits_posted + sum
                WHERE id = credit_account AND ledger = in_ledger
                AND (NOT credits_must_not_exceed_debits OR credits_posted + sum <= debits_posted);
        ELSE
            UPDATE accounts SET debits_posted = debits_posted + sum
                WHERE id = debit_account AND ledger = in_ledger
                AND (NOT debits_must_not_exceed_credits OR debits_posted + sum <= credits_posted);
        END IF;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'an account is missing, of another ledger, or overdrawn';
        END IF;
    END LOOP;
    RETURN 'created';
END $$;

-- Posts many transfers of one ledger or none: one statement inserts them, one locks their
-- accounts in id order and updates each of them once. Gives how many were posted.
CREATE FUNCTION post_all(
    ids uuid[], debit_accounts uuid[], credit_accounts uuid[], amounts bigint[], in_ledger integer, code smallint
) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    posted  bigint;
    touched bigint;
    wanted  bigint;
BEGIN
    INSERT INTO transfers (id, debit_account_id, credit_account_id, amount, ledger, code)
        SELECT t.id, t.debit, t.credit, t.amount, in_ledger, post_all.code
        FROM unnest(ids, debit_accounts, credit_accounts, amounts) AS t (id, debit, credit, amount);
    GET DIAGNOSTICS posted = ROW_COUNT;
    WITH sums AS MATERIALIZED (
        SELECT side.id, sum(side.debit)::bigint AS debit, sum(side.credit)::bigint AS credit
        FROM (
            SELECT t.id, t.amount AS debit, 0 AS credit FROM unnest(debit_accounts, amounts) AS t (id, amount)
            UNION ALL
            SELECT t.id, 0, t.amount FROM unnest(credit_accounts, amounts) AS t (id, amount)
        ) AS side
        GROUP BY side.id
    ), locked AS MATERIALIZED (
        SELECT account.id, sums.debit, sums.credit
        FROM sums JOIN accounts AS account ON account.id = sums.id
        ORDER BY account.id
        FOR NO KEY UPDATE OF account
    ), updated AS (
        UPDATE accounts AS account
        SET debits_posted = account.debits_posted + locked.debit,
            credits_posted = account.credits_posted + locked.credit
        FROM locked
        WHERE account.id = locked.id AND account.ledger = in_ledger
        AND (NOT account.debits_must_not_exceed_credits
            OR account.debits_posted + locked.debit <= account.credits_posted + locked.credit)
        AND (NOT account.credits_must_not_exceed_debits
            OR account.credits_posted + locked.credit <= account.debits_posted + locked.debit)
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM updated), (SELECT count(*) FROM sums) INTO touched, wanted;
    IF touched <> wanted THEN
        RAISE EXCEPTION '% of % accounts are missing, of another ledger, or overdrawn', wanted - touched, wanted;
    END IF;
    RETURN posted;
END $$;
