import OS
import Testing

@Suite struct ThreadTests {
    @Test func aThreadThatCantBeStartedIsAnErrorAndNoTrap() {
        let error = #expect(throws: SystemError.self) {
            try Thread.tryStart("too-large", stackBytes: 1 << 46) { Issue.record("it runs") }
        }
        #expect(error?.description.contains("too-large") == true)
    }
}
