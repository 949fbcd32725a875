package hufu.interop;

/** One thing that clients of a broker rely on. Returns when it holds; throws, saying what was wrong, when it does not. */
@FunctionalInterface
interface Case {
    void run(Stage stage) throws Exception;
}
