import Testing

@testable import Lifecycle

@Suite struct LifecycleProgramTests {
    @Test func anUnknownWordIsAUsageError() {
        #expect(LifecycleProgram.run(arguments: ["nonsense"], environment: [:]) == 2)
        #expect(LifecycleProgram.run(arguments: [], environment: [:]) == 2)
    }
}
