#!/bin/sh
# slurm.sh start FOLDER: a SLURM of one node, this machine, to rehearse `--cluster slurm:...`.
# slurm.sh stop FOLDER: ends it. As root, on Debian. A SLURM that is there already is left alone.
set -eu

action=${1:?start or stop}
state=${2:?folder for its state}
mark="# of tools/slurm.sh"
settings=/etc/slurm/slurm.conf
if [ -e "$settings" ] && ! grep -q "$mark" "$settings"; then
    echo "$settings is there already: this machine has a SLURM of its own" >&2
    exit 1
fi

stop() {
    for daemon in slurmd slurmctld; do
        [ -e "$state/$daemon.pid" ] || continue
        pid=$(cat "$state/$daemon.pid")
        kill "$pid" 2>/dev/null || continue
        for _ in 1 2 3 4 5 6 7 8 9 10; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 1
        done
    done
    rm -f "$settings"
}

stop
[ "$action" = start ] || exit 0
for command in slurmctld slurmd sbatch munged openssl; do
    if ! command -v "$command" >/dev/null 2>&1; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq </dev/null || echo "apt-get update failed: trying with the lists there are" >&2
        apt-get install -y -qq --no-install-recommends \
            slurmctld slurmd slurm-client munge openssl </dev/null >/dev/null
        break
    fi
done
mkdir -p "$state/state" "$state/spool" /run/munge /etc/slurm
state=$(cd "$state" && pwd)
node=$(hostname -s)
cat >"$settings" <<END
$mark
ClusterName=rehearsal
SlurmctldHost=$node
SlurmUser=root
SlurmdUser=root
StateSaveLocation=$state/state
SlurmdSpoolDir=$state/spool
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MpiDefault=none
ReturnToService=2
NodeName=$node CPUs=$(getconf _NPROCESSORS_ONLN) RealMemory=$(awk '/MemTotal/ { print int($2 / 1280) }' /proc/meminfo) State=UNKNOWN
PartitionName=all Nodes=$node Default=YES State=UP
END
chown munge /run/munge
pgrep -x munged >/dev/null || su -s /bin/sh munge -c /usr/sbin/munged
slurmctld
slurmd
for _ in 1 2 3 4 5 6 7 8 9 10; do
    sinfo --noheader --states=idle 2>/dev/null | grep -q . && exit 0
    sleep 1
done
echo "SLURM did not start: see $state/slurmctld.log" >&2
exit 1
