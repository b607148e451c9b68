import Glibc
import OS
import Testing

@testable import Containers

@Suite struct HostFactsTests {
    @Test func aProcessThatCanNotBeLookedAtIsNotDead() throws {
        let mine = try #require(try Host.startTime(of: getpid()))
        #expect(HostFacts.lives(getpid(), startTime: mine))
        #expect(!HostFacts.lives(getpid(), startTime: mine + 1))
        #expect(!HostFacts.lives(getpid(), startTime: nil))
        var before = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before)
        var none = rlimit(rlim_cur: 0, rlim_max: before.rlim_max)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &none)
        let lives = HostFacts.lives(getpid(), startTime: mine)
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before)
        #expect(lives)
    }
}
