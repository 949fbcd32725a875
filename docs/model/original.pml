/* The original's rule, read in RocketMQ 5.3.3's sources and measured on it: END is one-way, and a copy is appended to the real
 * topic on every COMMIT whose half is still in the log. No verdict is final, no check is fenced, and a half whose checks were
 * counted out, delivered or not, is skipped. `./dev model` must find the traces that break each property at the end.
 */
#define CHECKS_MAX 2

#define NONE 0
#define OPEN 1
#define COMMITTED 2
#define ABORTED 3

bool sent_commit, sent_rollback, sent_check; /* may arrive at any later time, any number of times, in any order */
bool half;
bool ended;      /* an op record says so: no more checks */
byte copies;
bool rolled_back; /* a ROLLBACK was taken */
bool commit_after_rollback;
byte checks;
bool skipped;
byte business;

active proctype Broker() {
end: do
  :: atomic { half && sent_commit && copies < 2 ->
       printf("broker: COMMIT arrives, copy %d is appended to the real topic\n", copies + 1);
       copies++;
       if :: rolled_back -> commit_after_rollback = true :: else fi;
       ended = true }
  :: atomic { half && sent_rollback && !rolled_back ->
       printf("broker: ROLLBACK arrives\n");
       rolled_back = true;
       ended = true }
  :: atomic { half && !ended && !skipped && checks < CHECKS_MAX ->
       checks++;
       printf("broker: check %d is counted, and sent to whoever is connected\n", checks);
       sent_check = true }
  :: atomic { half && !ended && !skipped && checks == CHECKS_MAX ->
       printf("broker: the checks are used up, the half is skipped\n");
       skipped = true }
  od
}

active proctype Producer() {
  printf("producer: the half is stored\n");
  half = true;
  printf("producer: the local transaction begins\n");
  business = OPEN;
  if
  :: atomic { printf("producer: the local transaction commits\n"); business = COMMITTED }
  :: atomic { printf("producer: the local transaction is rolled back\n"); business = ABORTED }
  fi;
  if
  :: atomic { business == COMMITTED -> printf("producer: END with COMMIT\n"); sent_commit = true }
  :: atomic { business == ABORTED -> printf("producer: END with ROLLBACK\n"); sent_rollback = true }
  :: printf("producer: killed\n")
  fi
}

/* A stock listener: looks for the business row. An open transaction's row cannot be seen. */
active proctype Listener() {
end: do
  :: atomic { sent_check && business == COMMITTED -> printf("listener: the row is there, COMMIT\n"); sent_commit = true; sent_check = false }
  :: atomic { sent_check && business != COMMITTED -> printf("listener: no row, ROLLBACK\n"); sent_rollback = true; sent_check = false }
  od
}

ltl one_copy { [] (copies <= 1) }
ltl rolled_back_stays_invisible { [] !commit_after_rollback }
ltl nothing_discarded { [] !(skipped && business == COMMITTED && !ended) }
