package hufu.interop;

import java.util.LinkedHashMap;
import java.util.Map;

/** Every case by its name, in the order of the report. */
final class Suite {
    static Map<String, Case> cases() {
        Map<String, Case> cases = new LinkedHashMap<>();
        Sending.addTo(cases);
        Consuming.addTo(cases);
        Filtering.addTo(cases);
        Delaying.addTo(cases);
        Transacting.addTo(cases);
        Rewinding.addTo(cases);
        Pulling.addTo(cases);
        Requesting.addTo(cases);
        Finding.addTo(cases);
        Rebalancing.addTo(cases);
        Administering.addTo(cases);
        Access.addTo(cases);
        Killing.addTo(cases);
        Versions.addTo(cases);
        return cases;
    }

    private Suite() {}
}
