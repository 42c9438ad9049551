import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.function.BooleanSupplier;

/** What every client program here prints: a line "ok NAME" or "FAILED NAME: why" for each thing tried; it ends with 1 when one failed. */
final class Report {
  interface Step {
    void run() throws Exception;
  }

  private boolean failed;

  void step(String name, Step step) {
    try {
      step.run();
      System.out.println("ok " + name);
    } catch (Throwable e) {
      failed = true;
      StringWriter trace = new StringWriter();
      e.printStackTrace(new PrintWriter(trace));
      System.err.println(trace);
      System.out.println("FAILED " + name + ": " + String.valueOf(e).replace('\n', ' '));
    }
    System.out.flush();
  }

  /** Ends the process: a client's thread that hangs must not keep it. */
  void end() {
    System.exit(failed ? 1 : 0);
  }

  static void check(boolean holds, String otherwise) {
    if (!holds) throw new AssertionError(otherwise);
  }

  static void same(Object is, Object wanted, String what) {
    if (!wanted.equals(is)) throw new AssertionError(what + ": " + is + " instead of " + wanted);
  }

  static void await(String what, int seconds, BooleanSupplier done) throws InterruptedException {
    long until = System.nanoTime() + seconds * 1_000_000_000L;
    while (!done.getAsBoolean()) {
      check(System.nanoTime() < until, what + " did not come within " + seconds + " s");
      Thread.sleep(20);
    }
  }
}
