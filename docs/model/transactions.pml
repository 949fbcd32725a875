/* Transaction messages as Hufu does them: halves, local transaction with a verdict row, END, check-back.
 *
 * One transaction with two messages. What this abstracts, and which code each step stands for: README.md.
 * `./dev model` runs every property at the end of this file, then every seeded bug (-D NAME), which must break one.
 *
 * What must never happen is looked for with crashes without number. What must happen in the end needs an end of harm:
 * -D HARM=n      n crashes and losses in all (also: n acts of the operator)
 * -D NO_BUDGET   nothing is ever parked and nothing grows old: everything must be decided
 */
#ifdef HARM
byte harm;
#define may_harm (harm < HARM)
#define harmed harm++
#else
#define may_harm true
#define harmed skip
#endif
#define HALVES 2

/* Verdicts, and what the broker decided. */
#define NONE 0
#define COMMIT 1
#define ROLLBACK 2

/* The network. A bit says that such a command was sent: it may arrive at any later time, any number of times, in any order. */
bool sent_half[HALVES], sent_commit, sent_rollback, sent_check;
bool waiting;       /* the producer waits for its halves to be stored */
bool acked[HALVES]; /* it was told so */

/* The business database. */
#define FREE 0      /* no verdict row */
#define OPEN 1      /* the local transaction inserted it and is still open: whoever inserts too waits */
#define COMMITTED 2
#define ABORTED 3
#define TOMB_OPEN 4 /* a checker inserted a tombstone and has not committed it */
#define TOMB 5
byte row = FREE;     /* FREE, OPEN, COMMITTED, TOMB_OPEN, TOMB */
byte business = FREE; /* the local transaction: FREE, OPEN, COMMITTED, ABORTED */
bool orphan;         /* its client is gone: the database ends it */
bool commit_sent;    /* COMMIT reached the database, its answer is lost */
bool old;            /* the transaction is older than the watermark of the verdict table */

/* The broker. Written is not durable: a crash takes what was only written. */
#define ABSENT 0
#define WRITTEN 1
#define DURABLE 2
byte half[HALVES];
byte stored_twice;    /* seeded bug: halves that were stored a second time */
byte decision;        /* first verdict */
bool decision_durable;
byte copies[HALVES];  /* appended to the real queue */
byte visible[HALVES]; /* of these durable: readers stop there */
byte told;            /* what an END was answered with */
bool parked;
byte checks_counted;
bool gone;            /* seeded bug: the halves were thrown away */

bool forced;          /* an operator decided against or without the database */

#define any_half (half[0] != ABSENT || half[1] != ABSENT)
#define any_half_durable (half[0] == DURABLE || half[1] == DURABLE)
#define undecided (any_half_durable && decision == NONE)
#define all_visible (visible[0] > 0 && visible[1] > 0)

/* ---- broker ---- */

inline store_half(i) {
  if
  :: decision != NONE -> skip /* refused: the transaction has ended */
  :: decision == NONE && half[i] == ABSENT ->
     half[i] = WRITTEN;
#ifdef HALF_ACKED_BEFORE_DURABLE
     acked[i] = waiting
#endif
  :: decision == NONE && half[i] == WRITTEN -> skip /* it is answered when it is durable */
  :: decision == NONE && half[i] == DURABLE ->
#ifdef SECOND_HALF_STORED
     stored_twice = stored_twice | (1 << i);
#endif
     acked[i] = waiting /* sent again: the same answer, no second half */
  fi
}

inline append_links() {
  copies[0] = copies[0] + (half[0] != ABSENT) + (stored_twice & 1);
  copies[1] = copies[1] + (half[1] != ABSENT) + ((stored_twice >> 1) & 1)
}

/* One group of the log: the decision and, for a commit, a link for every half. */
inline decide(verdict) {
  decision = verdict;
  decision_durable = false;
  parked = false;
  if
  :: verdict == COMMIT -> append_links()
  :: else
  fi;
#ifdef VERDICT_NOT_DURABLE
  told = verdict
#endif
}

inline end_transaction(verdict) {
  if
  :: !any_half -> skip /* unknown: refused */
  :: any_half && decision == NONE -> decide(verdict)
  :: any_half && decision == verdict ->
     if
     :: decision_durable -> told = decision /* again: the same answer */
     :: else
     fi
  :: any_half && decision != NONE && decision != verdict -> /* the first verdict stands */
#ifdef LATE_COMMIT_ACCEPTED
     if
     :: verdict == COMMIT -> decide(verdict)
     :: else
     fi
#else
     skip
#endif
  fi
}

active proctype HalfArrives() {
end: do
  :: atomic { sent_half[0] -> store_half(0) }
  :: atomic { sent_half[1] -> store_half(1) }
  od
}
active proctype CommitArrives() {
end: do
  :: atomic { sent_commit -> end_transaction(COMMIT) }
  od
}
active proctype RollbackArrives() {
end: do
  :: atomic { sent_rollback -> end_transaction(ROLLBACK) }
  od
}

/* Group commit: halves become durable before a decision that was written after them. */
active proctype Sync() {
end: do
  :: atomic { half[0] == WRITTEN -> half[0] = DURABLE; acked[0] = waiting }
  :: atomic { half[1] == WRITTEN -> half[1] = DURABLE; acked[1] = waiting }
  :: atomic { decision != NONE && !decision_durable && half[0] != WRITTEN && half[1] != WRITTEN ->
       decision_durable = true;
       visible[0] = copies[0];
       visible[1] = copies[1];
       told = decision }
  od
}

active proctype BrokerCrash() {
end: do
  :: atomic { may_harm && any_half ->
       harmed;
       if :: half[0] == WRITTEN -> half[0] = ABSENT :: else fi;
       if :: half[1] == WRITTEN -> half[1] = ABSENT :: else fi;
       if
       :: !decision_durable -> decision = NONE
       :: else
       fi;
       copies[0] = visible[0];
       copies[1] = visible[1];
       if
       :: parked = false /* that it was parked may be known again only after the next check */
       :: skip
       fi }
  od
}

/* A check is sent when it is due, until somebody decides. */
active proctype CheckTimer() {
end: do
  :: atomic { undecided && !parked && !sent_check ->
       sent_check = true;
#if defined(UNDELIVERED_CHECK_COUNTED) || defined(DISCARD_AFTER_N_CHECKS)
       checks_counted++;
       if
       :: checks_counted == 2 ->
          sent_check = false;
#ifdef DISCARD_AFTER_N_CHECKS
          half[0] = ABSENT;
          half[1] = ABSENT;
          gone = true
#else
          parked = true
#endif
       :: else
       fi
#endif
     }
  od
}

#ifndef NO_BUDGET
/* The wall-clock budget: it may run out at any time, and has run out for certain once the verdict table forgets. */
active proctype Budget() {
  bool once;
end: do
  :: atomic { undecided && !parked && !once -> parked = true; once = true }
  :: atomic { undecided && !parked && old -> parked = true }
  od
}

/* A person. Resuming asks the service again; a forced verdict is the person's own word and excuses P1 and P5. */
active proctype Operator() {
end: do
  :: atomic { parked && decision == NONE && may_harm ->
       harmed;
       if
       :: parked = false
       :: forced = true; decide(COMMIT)
       :: forced = true; decide(ROLLBACK)
       fi }
  od
}

/* The verdict table is cleaned: first the watermark, then the rows below it. */
active proctype Purge() {
  atomic { business != FREE || row != FREE -> old = true };
  atomic { row == COMMITTED || row == TOMB -> row = FREE }
}
#endif

/* What gets lost. A lost check is sent again, a lost END is replaced by a check. For what must never happen, lost is the same
 * as never arriving. */
#ifdef HARM
active proctype Loss() {
end: do
  :: atomic { may_harm ->
       if
       :: sent_commit -> sent_commit = false
       :: sent_rollback -> sent_rollback = false
       :: sent_check -> sent_check = false
       :: sent_half[0] -> sent_half[0] = false
       :: acked[0] -> acked[0] = false
       fi;
       harmed }
  od
}
#endif

/* ---- database ---- */

/* Ends what a dead client left open. */
active proctype Database() {
end: do
  :: atomic { orphan && business == OPEN ->
       orphan = false;
       if
       :: business = ABORTED; row = FREE
       :: commit_sent -> business = COMMITTED; row = COMMITTED
       fi;
       commit_sent = false }
  od
}

/* The fenced check, by any process of the service: the tombstone first. An answer that decides nothing (ongoing, unknown) is an
 * END of type 0. */
inline check_begin(mine) {
  if
#ifdef UNFENCED_CHECK
  :: row == COMMITTED -> sent_commit = true
  :: row != COMMITTED -> sent_rollback = true
#else
  :: row == COMMITTED -> sent_commit = true
  :: row == TOMB -> sent_rollback = true
  :: row == OPEN || row == TOMB_OPEN -> skip /* lock_timeout: ongoing */
  :: row == FREE -> row = TOMB_OPEN; mine = true
#endif
  fi
}
/* Then, in a second statement, the watermark: below it nobody knows any more, and a person is asked. */
inline check_finish(mine, is_old) {
  if
#ifndef TOMBSTONE_AFTER_CLEANUP
  :: is_old -> row = FREE
#endif
  :: else -> row = TOMB; sent_rollback = true
  fi;
  mine = false
}

/* ---- service ---- */

proctype Responder() {
  bool mine;
#ifdef WATERMARK_READ_FIRST
  bool is_old;
end: do
  :: atomic { sent_check && !mine -> is_old = old };
     if
     :: atomic { true -> check_begin(mine) }
     fi
  :: atomic { mine -> check_finish(mine, is_old); is_old = false }
  od
#else
end: do
  :: atomic { sent_check && !mine -> check_begin(mine) }
  :: atomic { mine -> check_finish(mine, old) }
  :: atomic { mine && may_harm -> harmed; row = FREE; mine = false } /* dies between the two */
  od
#endif
}

proctype ForeignResponder() {
end: do
  :: sent_check ->
#ifdef FOREIGN_STORE_ANSWERS
     sent_rollback = true /* the copy knows nothing of this transaction */
#else
     skip
#endif
  od
}

proctype Producer() {
  bool mine;
  /* 1. Every half is stored, or the transaction is off. */
  atomic { sent_half[0] = true; sent_half[1] = true; waiting = true };
  do
  :: atomic { acked[0] && acked[1] -> waiting = false; acked[0] = false; acked[1] = false; break }
  :: atomic { !acked[0] && !sent_half[0] -> sent_half[0] = true }
  :: atomic { waiting = false; acked[0] = false; acked[1] = false; goto off }
  :: atomic { waiting = false; acked[0] = false; acked[1] = false; goto dead }
  od;
  /* 2. The local transaction: the verdict row first. While a checker's tombstone is open, this waits. */
  if
#ifdef LOCAL_AFTER_CLEANUP
  :: atomic { row == FREE -> row = OPEN; business = OPEN }
#else
  :: atomic { row == FREE && !old -> row = OPEN; business = OPEN }
  :: atomic { row == FREE && old -> business = ABORTED; goto off }
#endif
  :: atomic { row == TOMB -> business = ABORTED; goto off }
  :: goto dead
  fi;
  /* 3. Business, for as long as it takes; then COMMIT, whose answer may be lost. */
  if
  :: atomic { business = COMMITTED; row = COMMITTED }
  :: atomic { business = ABORTED; row = FREE; goto off }
  :: atomic { commit_sent = true; orphan = true; goto in_doubt }
  :: atomic { orphan = true; goto dead }
  fi;
  /* 4. END; or death before it. */
  if
  :: atomic { sent_commit = true; goto dead }
  :: goto dead
  fi;

  /* Was it committed? The producer asks as a checker does, once; what that leaves open, check-back settles. */
in_doubt:
  atomic { check_begin(mine) };
  if
  :: atomic { mine -> check_finish(mine, old) }
  :: !mine
  fi;
  goto dead;

off:
  sent_rollback = true;
dead:
  skip
}

init {
  atomic {
    run Producer();
    run Responder();
    run Responder();
    run ForeignResponder()
  }
}

/* ---- what must hold ---- */

/* P1: both or neither. */
ltl p1_no_rows_without_message { [] (decision == ROLLBACK && !forced -> business != COMMITTED) }
ltl p1_all_messages_or_none { [] ((visible[0] > 0) == (visible[1] > 0) || forced) }
ltl p1_committed_becomes_visible { [] (business == COMMITTED -> <> (all_visible || parked || forced)) }
/* P2: nothing lost. */
#ifdef NO_BUDGET
ltl p2_decided { [] (any_half_durable -> <> (decision != NONE)) }
#else
ltl p2_decided_or_parked { [] (any_half_durable -> <> (decision != NONE || parked)) }
#endif
/* P5: invisible until committed, first verdict wins, one copy. */
ltl p5_visible_only_when_committed { [] (visible[0] + visible[1] > 0 -> business == COMMITTED || forced) }
ltl p5_one_copy { [] (copies[0] <= 1 && copies[1] <= 1) }
ltl p5_decided_is_final { [] (told != NONE -> decision == told) }
