/* One payment between a payer and a payee, with everything that can go wrong around it. docs/model.md explains it.
 *
 * The link and the hosts are adversaries that cannot forge: a message that was ever sent may be delivered at any time
 * from then on, again, late or never. So there is no process for a tap: every tap that is cut at any byte, repeated,
 * resumed or reordered is one order of the steps below. Each step is one thing that a device or the ledger does between
 * two points at which power can go; what it may send then counts as sent, since not to send it is the link's choice.
 * Every amount is 1.
 *
 * `-DNAME` at one of the #ifdef below takes one rule out; the model must then find a violation (tests/model).
 */

#ifndef TRANSFERS
#define TRANSFERS 3 /* Transfers that the payer may commit, */
#endif
#ifndef REQUESTS
#define REQUESTS 3 /* Requests that the payee may open, */
#endif
#ifndef ISSUES
#define ISSUES 2 /* and Certificates that the ledger may issue to the payee, at most */
#endif
#ifndef SEVERAL_PAYERS
#define SEVERAL_PAYERS 0 /* 1: the payer stands for several, which may pay one Request each */
#endif
#define LOADED 2 /* the payer's balance at the start: less than it may try to pay */
#define HOSTS 2
#define NONE 255

#define BIT(i) (1 << (i))
#define HAS(set, i) (((set) >> (i)) & 1)
#define WITHOUT(set, other) ((set) & ~(other))

/* A debit in the payer's journal (states.DEBIT), and on whose word it was closed */
#define NOT_COMMITTED 0
#define IN_DOUBT 1
#define PAID_BY_RECEIPT 2
#define VOIDED_BY_VOID 3
#define PAID_BY_OPERATOR 4
#define VOIDED_BY_OPERATOR 5
#define PAID(t) (debit[t] == PAID_BY_RECEIPT || debit[t] == PAID_BY_OPERATOR)
#define VOIDED(t) (debit[t] == VOIDED_BY_VOID || debit[t] == VOIDED_BY_OPERATOR)

/* Where the ledger has a Transfer's money (transfers.py) */
#define PAYER_PURSE 0
#define PENDING 1
#define PAYEE_PURSE 2
#define PAYEE_ACCOUNT 3

/* The payer: a journal, and nothing else that matters */
byte debit[TRANSFERS];
byte request_of[TRANSFERS] = NONE; /* the Request that this Transfer answers */
byte transfers = 0;                /* how many Transfers there are */
byte payer_balance = LOADED;

/* The payee. Durable: */
byte credits = 0;    /* set of Transfers that its journal credits, */
byte receipts = 0;   /* those of them whose records it still keeps, */
byte floor = 0;      /* the installed request floor, */
byte issue = 0;      /* the installed Certificate */
byte requests = 0;   /* Requests made so far; a Request is known by its place among them */
byte payee_balance = 0;
/* and in memory: */
byte open = NONE;    /* the open Request */
bool by_user = 0;    /* a person opened it */
byte writing = NONE; /* the Transfer whose credit is being written */

#ifdef NUMBERS_FORGOTTEN
byte next_number = 0;
byte number_of[REQUESTS];
#define NUMBER(r) number_of[r]
#define NEXT_NUMBER next_number
#else
#define NUMBER(r) (r)
#define NEXT_NUMBER requests
#endif

/* What link and hosts have seen, as sets of Transfers. They have also seen every Request and every Transfer. */
byte received = 0; /* Receipts */
byte voided = 0;   /* Voids */
byte resolved_paid = 0;
byte resolved_void = 0;

/* What people have read on the payee's screen, as sets of Requests */
byte read_paid = 0;
byte read_not_paid = 0;

byte signed_mark = 0; /* the highest watermark the payee has signed */

/* A host between payee and ledger: one Statement of the payee's, and the answer it has for it */
typedef Host {
    bool holds;
    byte mark;    /* the Statement's watermark, */
    byte credits; /* what the journal credited at its head */
    byte issue;   /* the Certificate in the answer, 0 for none, */
    byte floor;   /* the request floor that comes with it, */
    byte base     /* and the credits that its base covers */
}
Host host[HOSTS];

/* The ledger: facts about Transfers, as sets, and about the payee */
byte debited = 0;  /* the payer's journal has it */
byte claimed = 0;  /* a Receipt is known */
byte credited = 0; /* the payee's journal has it */
byte is_void = 0;  /* a Void is known, or a watermark above it */
byte overdue = 0;  /* the deadline has passed */
byte mark = 0;     /* the payee's watermark */
byte issued = 0;   /* Certificates issued to the payee */
byte holder[TRANSFERS];
short accounts[4] = 0; /* what is in each of the four places; a purse may be unfunded for a while */

#ifdef NO_SEAL
byte torn = NONE; /* the credit whose write was cut */
#endif

/* For the loops only */
hidden byte i;
hidden byte h_place;
hidden byte h_credited;
hidden byte h_claimed;
hidden byte h_void;
hidden byte h_sum;
hidden byte h_flight;

/* What must hold in every state. */
inline check() {
    h_flight = 0;
    for (i : 0 .. TRANSFERS - 1) {
        if
        :: HAS(credits, i) ->
            assert(debit[i] != NOT_COMMITTED); /* nobody is paid from nothing */
            assert(!VOIDED(i));                /* the money is not at both */
            assert(!HAS(voided, i));           /* an honest payee does not credit and void */
            assert(!HAS(read_not_paid, request_of[i])) /* "not paid" is never taken back */
        :: else ->
            if
            :: debit[i] == IN_DOUBT -> h_flight++
            :: PAID(i) ->
                assert(debit[i] == PAID_BY_OPERATOR && HAS(overdue, i)); /* nobody pays for nothing, but at the deadline */
                h_flight++
            :: else
            fi
        fi
    }
    for (i : 0 .. REQUESTS - 1) {
        if
        :: HAS(read_paid, i) ->
            h_sum = 0;
            for (h_place : 0 .. TRANSFERS - 1) {
                h_sum = h_sum | (HAS(credits, h_place) && request_of[h_place] == i)
            }
            assert(h_sum) /* "paid" is what the journal says */
        :: else
        fi
    }
    h_sum = 0;
    h_place = 0;
    assert(payer_balance + payee_balance + h_flight == LOADED); /* conservation, devices */
    assert(accounts[PAYER_PURSE] + accounts[PENDING] + accounts[PAYEE_PURSE] + accounts[PAYEE_ACCOUNT] == LOADED);
    assert((claimed & is_void) == 0);            /* the ledger never has cause to freeze the honest payee */
    assert(WITHOUT(received, credits) == 0);     /* a Receipt says what the journal says */
    assert(WITHOUT(WITHOUT(credits, receipts), credited) == 0); /* a dropped record is one that the ledger holds */
    i = 0;
    h_flight = 0
}

/* Books: the account that follows from the facts (transfers.holder_of) */
inline find_holder(t, is_debited, is_claimed, voids, place) {
    if
    :: HAS(voids, t) -> place = PAYER_PURSE
    :: else ->
        if
        :: HAS(is_claimed, t) -> place = PAYEE_PURSE
        :: else ->
            if
#ifdef DEFAULT_TO_PAYER
            :: HAS(overdue, t) -> place = PAYER_PURSE
#else
            :: HAS(overdue, t) -> place = PAYEE_ACCOUNT
#endif
            :: !HAS(overdue, t) && HAS(is_debited, t) -> place = PENDING
            :: else -> place = PAYER_PURSE
            fi
        fi
    fi
}

inline void_below_mark(is_debited, is_claimed, is_credited, watermark, voids) {
    for (i : 0 .. TRANSFERS - 1) {
        if
        :: i < transfers && (HAS(is_debited, i) || HAS(is_claimed, i)) && !HAS(is_credited, i) && NUMBER(request_of[i]) < watermark ->
            voids = voids | BIT(i)
        :: else
        fi
    }
}

inline place_all() {
    void_below_mark(debited, claimed, credited, mark, is_void);
    for (i : 0 .. TRANSFERS - 1) {
        find_holder(i, debited, claimed, is_void, h_place);
        if
        :: h_place != holder[i] ->
            assert(accounts[holder[i]] > 0 || holder[i] == PAYER_PURSE);
            accounts[holder[i]]--;
            accounts[h_place]++;
            holder[i] = h_place
        :: else
        fi;
        if /* a Resolution is ready for the payer's next sync */
        :: HAS(debited, i) && (holder[i] == PAYEE_PURSE || holder[i] == PAYEE_ACCOUNT) ->
            resolved_paid = resolved_paid | BIT(i)
        :: HAS(debited, i) && holder[i] == PAYER_PURSE -> resolved_void = resolved_void | BIT(i)
        :: else
        fi
    }
    h_place = 0
}

/* The end: from here both sync, or only one of them, and nobody disturbs. Nothing is changed: it only looks ahead.
 * A write under way counts as not committed; the state in which it is committed is looked at by itself. */
inline look_ahead() {
    /* the payer alone, and the payee never again: the deadline decides */
    h_claimed = claimed;
    h_void = is_void;
    for (i : 0 .. TRANSFERS - 1) {
        if
        :: debit[i] == PAID_BY_RECEIPT -> h_claimed = h_claimed | BIT(i)
        :: debit[i] == VOIDED_BY_VOID -> h_void = h_void | BIT(i)
        :: else
        fi
    }
    h_sum = h_claimed; /* with the payer's evidence, before the payee says anything */
    for (i : 0 .. TRANSFERS - 1) {
        if
        :: debit[i] != NOT_COMMITTED ->
            find_holder(i, 255, h_claimed, h_void, h_place);
#ifdef DEFAULT_TO_PAYER
            if
            :: h_place == PENDING -> h_place = PAYER_PURSE
            :: else
            fi;
#else
            if
            :: h_place == PENDING -> h_place = PAYEE_ACCOUNT
            :: else
            fi;
#endif
            assert(!HAS(credits, i) || h_place != PAYER_PURSE) /* the payee's word decides, or its account gets it */
        :: else
        fi
    }
    /* both: first the payee (its open Request is closed by that), then the payer */
    h_credited = credited | receipts;
    h_claimed = h_sum | h_credited;
    void_below_mark(255, h_claimed, h_credited, NEXT_NUMBER, h_void);
    assert((h_claimed & h_void) == 0);
    for (i : 0 .. TRANSFERS - 1) {
        if
        :: debit[i] != NOT_COMMITTED ->
            find_holder(i, 255, h_claimed, h_void, h_place);
            if
            :: HAS(credits, i) -> assert(h_place == PAYEE_PURSE) /* an honest payee is paid, once */
            :: else -> assert(h_place == PAYER_PURSE)            /* and what it is not paid is the payer's */
            fi
        :: else
        fi
    }
    h_place = 0; h_claimed = 0; h_credited = 0; h_void = 0; h_sum = 0; i = 0
}

#define SWAP(field) h_place = host[0].field; host[0].field = host[1].field; host[1].field = h_place

/* The hosts are alike: they are kept in one order, so that no state is looked at twice */
inline order_hosts() {
    if
    :: host[0].mark < host[1].mark || (host[0].mark == host[1].mark && (host[0].credits < host[1].credits ||
       (host[0].credits == host[1].credits && host[0].issue < host[1].issue))) ->
        SWAP(holds);
        SWAP(mark);
        SWAP(credits);
        SWAP(issue);
        SWAP(floor);
        SWAP(base);
        h_place = 0
    :: else
    fi
}

inline close_request() {
    open = NONE;
    by_user = 0
}

inline show_not_paid(r) {
    read_not_paid = read_not_paid | BIT(r)
}

/* --- payer */

inline commit_debit(r) {
    debit[transfers] = IN_DOUBT;
    request_of[transfers] = r;
    transfers++;
    payer_balance--
}

inline close_debit(t, how) {
#ifdef PAYER_CLOSES_TWICE
    if
    :: how == VOIDED_BY_VOID || how == VOIDED_BY_OPERATOR -> payer_balance++
    :: else
    fi;
    debit[t] = how
#else
    assert(debit[t] == IN_DOUBT);
    if
    :: how == VOIDED_BY_VOID || how == VOIDED_BY_OPERATOR -> payer_balance++
    :: else
    fi;
    debit[t] = how
#endif
}

#define ANSWERS(t, r) (debit[t] == IN_DOUBT && request_of[t] == (r))
#if TRANSFERS == 1
#define ANSWERED(r) ANSWERS(0, r)
#elif TRANSFERS == 2
#define ANSWERED(r) (ANSWERS(0, r) || ANSWERS(1, r))
#else
#define ANSWERED(r) (ANSWERS(0, r) || ANSWERS(1, r) || ANSWERS(2, r))
#endif

#ifdef PAYER_CLOSES_TWICE
#define CLOSABLE(t) (debit[t] != NOT_COMMITTED)
#else
#define CLOSABLE(t) (debit[t] == IN_DOUBT)
#endif

/* --- payee */

/* Whether the journal still answers for this Transfer, or the ledger must (Payee.receive, steps 2 and 3) */
#ifdef NO_FLOOR
#define BELOW_FLOOR(t) 0
#else
#define BELOW_FLOOR(t) (NUMBER(request_of[t]) < floor)
#endif

#define AT_WORK (writing != NONE)

#ifdef NUMBERS_FORGOTTEN
#define IS_OPEN(r) (open != NONE && number_of[open] == number_of[r])
#else
#define IS_OPEN(r) (open == (r))
#endif

inline sign_void(t) {
    voided = voided | BIT(t)
}

inline power_cut() {
    open = NONE;
    by_user = 0;
    writing = NONE
}

inline commit_credit(t) {
    assert(!HAS(credits, t));                             /* credited once */
    assert(NUMBER(request_of[t]) >= signed_mark);         /* not after a watermark that voids it */
    credits = credits | BIT(t);
    receipts = receipts | BIT(t);
    received = received | BIT(t);
    read_paid = read_paid | BIT(request_of[t]);
    payee_balance++
}

active proctype world() {
    byte t, r, h;
    accounts[PAYER_PURSE] = LOADED;
    do
    /* ---------------------------------------------------------------- payee: Requests and its screen */
    :: atomic { /* a person asks for money, or a reader that pays has the card sign a Request */
        !AT_WORK && requests < REQUESTS ->
        if
        :: by_user = 1
        :: open == NONE || !by_user -> by_user = 0
        fi;
        d_step {
            printf("payee: opens Request %d\n", requests);
#ifdef NUMBERS_FORGOTTEN
            number_of[requests] = next_number;
            next_number++;
#endif
            open = requests; /* the one before, if any, is closed by it */
            requests++;
            check()
        }
    }
#ifdef CANCEL_DURING_COMMIT
    :: d_step { open != NONE ->
#else
    :: d_step { open != NONE && !AT_WORK ->
#endif
        printf("payee: cancels Request %d, shows not paid\n", open);
        show_not_paid(open);
#ifndef NOT_PAID_WITHOUT_CLOSE
        close_request();
#endif
        check()
    }
    /* ---------------------------------------------------------------- payer: PAY, or REQUEST as the reader that pays */
    :: atomic { /* a Request arrives that no debit in doubt answers; else the answer is the Transfer that is there */
        transfers < TRANSFERS && payer_balance > 0 && requests > 0 ->
        select(r : 0 .. REQUESTS - 1);
        if
        :: r < requests && (!ANSWERED(r) || SEVERAL_PAYERS) ->
#ifdef ANSWER_BEFORE_COMMIT
            if
            :: d_step { printf("payer: answers Request %d with Transfer %d, power cut\n", r, transfers);
                request_of[transfers] = r; transfers++ }
            :: commit_debit(r)
            fi
#else
            d_step {
                printf("payer: commits Transfer %d for Request %d, answers\n", transfers, r);
                commit_debit(r)
            }
#endif
        :: else
        fi;
        d_step { r = 0; check() }
    }
#ifdef PAYER_TAKES_BACK
    :: d_step { debit[0] == IN_DOUBT ->
        printf("payer: waits no longer for Transfer 0\n");
        debit[0] = VOIDED_BY_VOID;
        payer_balance++;
        check()
    }
#endif
    :: atomic { /* CONFIRM, the answer to TRANSFER, or a Resolution: whatever comes first closes it */
        (received | voided | resolved_paid | resolved_void) != 0 ->
        select(t : 0 .. TRANSFERS - 1);
        if
        :: HAS(received, t) && CLOSABLE(t) ->
            d_step { printf("payer: Receipt of Transfer %d\n", t); close_debit(t, PAID_BY_RECEIPT) }
        :: HAS(voided, t) && CLOSABLE(t) ->
            d_step { printf("payer: Void of Transfer %d\n", t); close_debit(t, VOIDED_BY_VOID) }
        :: HAS(resolved_paid, t) && CLOSABLE(t) ->
            d_step { printf("payer: Resolution, Transfer %d paid\n", t); close_debit(t, PAID_BY_OPERATOR) }
        :: HAS(resolved_void, t) && CLOSABLE(t) ->
            d_step { printf("payer: Resolution, Transfer %d void\n", t); close_debit(t, VOIDED_BY_OPERATOR) }
        :: else
        fi;
        d_step { t = 0; check() }
    }
    /* ---------------------------------------------------------------- payee: a Transfer arrives */
    :: atomic {
        transfers > 0 && !AT_WORK -> select(t : 0 .. TRANSFERS - 1);
        if
        :: t >= transfers
        :: t < transfers && HAS(receipts, t) /* the stored Receipt */
        :: t < transfers && !HAS(receipts, t) && BELOW_FLOOR(t) /* ask the ledger */
#ifdef CREDIT_CLOSED_REQUEST
        :: t < transfers && !HAS(receipts, t) && !BELOW_FLOOR(t) && open != request_of[t] -> writing = t
#endif
        :: t < transfers && !HAS(receipts, t) && !BELOW_FLOOR(t) && IS_OPEN(request_of[t]) && open == request_of[t] ->
            if
            :: d_step { /* good: the write of the credit begins */
                printf("payee: begins to credit Transfer %d\n", t);
#ifdef SHOW_BEFORE_COMMIT
                read_paid = read_paid | BIT(open);
#endif
                writing = t
            }
            :: d_step { /* revoked, expired, another Certificate or amount: the Request is closed, then it is voided */
                printf("payee: voids Transfer %d of its open Request, shows not paid\n", t);
#ifndef VOID_WITHOUT_CLOSE
                show_not_paid(open);
                close_request();
#endif
                sign_void(t)
            }
            fi
        :: t < transfers && !HAS(receipts, t) && !BELOW_FLOOR(t) && !IS_OPEN(request_of[t]) &&
           NUMBER(request_of[t]) < NEXT_NUMBER ->
            d_step {
                if
                :: !HAS(voided, t) -> printf("payee: voids Transfer %d\n", t)
                :: else
                fi;
                sign_void(t)
            }
        :: else /* the number of another Request that is open, or not used yet: refused */
        fi;
        d_step { t = 0; check() }
    }
    :: d_step { AT_WORK ->
        printf("payee: Transfer %d is credited\n", writing);
        commit_credit(writing);
        writing = NONE;
#ifdef NO_SEAL
        torn = NONE;
#endif
        close_request();
        check()
    }
    /* ---------------------------------------------------------------- power */
    :: atomic { /* the payee's. The payer has nothing in memory to lose: its cuts are steps that do not follow */
#ifdef NO_SEAL
        open != NONE || AT_WORK || torn != NONE ->
#else
        open != NONE || AT_WORK ->
#endif
        if
        :: AT_WORK -> /* the record is whole or it is not; the start decides that once and for all */
            if
            :: d_step { printf("payee: power cut, the credit of %d is whole\n", writing); commit_credit(writing) }
            :: printf("payee: power cut, the credit of %d is not there\n", writing)
            fi;
#ifdef NO_SEAL
            torn = writing
        :: !AT_WORK && torn != NONE -> /* the same cells, read again */
            if
            :: HAS(credits, torn) ->
                d_step {
                    printf("payee: power cut, the credit of %d reads as not there\n", torn);
                    credits = WITHOUT(credits, BIT(torn));
                    receipts = WITHOUT(receipts, BIT(torn));
                    payee_balance--
                }
            :: else -> d_step { printf("payee: power cut, the credit of %d reads as whole\n", torn); commit_credit(torn) }
            fi
#endif
        :: else -> printf("payee: power cut\n")
        fi;
        d_step {
            power_cut();
#ifdef NUMBERS_FORGOTTEN
            next_number = 0;
#endif
            check()
        }
    }
    /* ---------------------------------------------------------------- sync: payee and hosts */
    :: atomic { /* STATEMENT */
#ifdef STATEMENT_WHILE_OPEN
        !AT_WORK ->
#else
        !AT_WORK && !(open != NONE && by_user) ->
#endif
        select(h : 0 .. HOSTS - 1);
        d_step {
            printf("payee: Statement, watermark %d, credits %d; a host takes it\n", NEXT_NUMBER, credits);
#ifndef STATEMENT_WHILE_OPEN
            close_request(); /* one opened by a tap */
#endif
            host[h].holds = 1;
            host[h].mark = NEXT_NUMBER;
            host[h].credits = credits;
            host[h].issue = 0;
            host[h].floor = 0;
            host[h].base = 0;
            if
            :: NEXT_NUMBER > signed_mark -> signed_mark = NEXT_NUMBER
            :: else
            fi;
            order_hosts();
            h = 0;
            check()
        }
    }
    :: atomic { /* a host hands over one of the payee's records */
        select(h : 0 .. HOSTS - 1);
        select(t : 0 .. TRANSFERS - 1);
        d_step {
            if
            :: host[h].holds && HAS(host[h].credits, t) && HAS(receipts, t) && !HAS(credited, t) ->
                printf("ledger: the credit of Transfer %d\n", t);
                claimed = claimed | BIT(t);
                credited = credited | BIT(t);
                place_all();
                check()
            :: else
            fi;
            h = 0;
            t = 0
        }
    }
    :: atomic { /* and the Statement; only with every record up to its head the floors and a new base follow */
        issued < ISSUES ->
        select(h : 0 .. HOSTS - 1);
        d_step {
            if
#ifdef WATERMARK_WITHOUT_RECORDS
            :: host[h].holds && !host[h].issue ->
#else
            :: host[h].holds && !host[h].issue && credited == host[h].credits && WITHOUT(claimed, credited) == 0 ->
#endif
                if
                :: host[h].mark > mark -> mark = host[h].mark
                :: else
                fi;
                place_all();
                issued++;
                host[h].issue = issued;
                host[h].floor = mark;
                host[h].base = host[h].credits;
                printf("ledger: watermark %d, Certificate %d for the payee\n", mark, issued);
                order_hosts();
                check()
            :: else
            fi;
            h = 0
        }
    }
    :: atomic { /* INSTALL */
        !AT_WORK && !(open != NONE && by_user) ->
        select(h : 0 .. HOSTS - 1);
        d_step {
            if
#ifdef STALE_INSTALL
            :: host[h].issue != 0 && host[h].issue != issue ->
#else
            :: host[h].issue > issue && host[h].floor >= floor && host[h].floor <= NEXT_NUMBER ->
#endif
                printf("payee: installs Certificate %d, floor %d, drops %d\n",
                    host[h].issue, host[h].floor, host[h].base);
                close_request();
                issue = host[h].issue;
                floor = host[h].floor;
                receipts = WITHOUT(receipts, host[h].base);
                check()
            :: else
            fi;
            h = 0
        }
    }
    /* ---------------------------------------------------------------- sync: payer */
    :: atomic { /* a host hands over what the payer's journal says of one Transfer: the debit, or also its end */
        transfers > 0 -> select(t : 0 .. TRANSFERS - 1);
        d_step {
            if
            :: debit[t] != NOT_COMMITTED && !HAS(debited, t) ->
                printf("ledger: the debit of Transfer %d\n", t);
                debited = debited | BIT(t)
            :: debit[t] == PAID_BY_RECEIPT && HAS(debited, t) && !HAS(claimed, t) ->
                printf("ledger: the payer's Receipt of Transfer %d\n", t);
                claimed = claimed | BIT(t)
            :: debit[t] == VOIDED_BY_VOID && HAS(debited, t) && !HAS(is_void, t) ->
                printf("ledger: the payer's Void of Transfer %d\n", t);
                is_void = is_void | BIT(t)
            :: else
            fi;
            place_all();
            t = 0;
            check()
        }
    }
    :: atomic { /* the deadline: pending goes to the payee's account */
        transfers > 0 -> select(t : 0 .. TRANSFERS - 1);
        d_step {
            if
            :: holder[t] == PENDING && !HAS(overdue, t) ->
                printf("ledger: the deadline of Transfer %d has passed\n", t);
                overdue = overdue | BIT(t);
                place_all()
            :: else
            fi;
            t = 0;
            check()
        }
    }
    /* ---------------------------------------------------------------- the end, from wherever it stands */
    :: d_step { 1 -> look_ahead() }
    od
}
