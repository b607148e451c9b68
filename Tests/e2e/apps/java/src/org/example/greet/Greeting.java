package org.example.greet;

/** The dependency: lib/greet.jar. */
public final class Greeting {
    public static String text() { return "hello from a jar beside the program"; }
}
