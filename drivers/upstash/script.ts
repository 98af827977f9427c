// Made of script/*.lua by `deno task lua`: change those, and run it.

/** The program that a store runs in Redis, for any operation. */
export const SCRIPT: string =
  `local a,b,c,d=KEYS[1],KEYS[2],KEYS[3],KEYS[4]local e,f,g=ARGV[1],ARGV[4],redis.call;local h,i,j=
tonumber(ARGV[5]),tonumber(ARGV[6]),tonumber(ARGV[7])local k=table.remove(ARGV)~=''local l=table.
remove(ARGV)local m=math.floor(ARGV[3]~=''and ARGV[3]or ARGV[2])local function n(o,p)return{o and 1
or 0,p and 1 or 0,m,'='..f,'='..a}end;local function q(r)return type(r)=='number'and string.format(
'%.0f',r)or r or''end;local function s(t,r)local u=tonumber(r)if u and u%1==0 and math.abs(u)<=
9007199254740991 then return u end;if r and r~=''then error('the field "'..t..
'" of the circuit is invalid',0)end end;local function v(w,x)for y=1,#x,1000 do g('HDEL',w,unpack(x,
y,math.min(y+999,#x)))end end;local function z(w)local A,B={},g('HGETALL',w)for y=1,#B,2 do A[B[y]]=
B[y+1]end;return A,#B>0 end;local C,D,E=KEYS[#KEYS-1],KEYS[#KEYS],#KEYS~=4;local F=string.char(255)
local G={}local function H(x,I,w)local J=redis.pcall(I and'ZADD'or'ZREM',x,unpack(I and{0,w}or{w}))G
[x]=type(J)=='number'end;local function K(w,L,M)w=w:sub(#C-7,-7)if w==''or w>=F then return end;H(C,
L,w)H(D,L and not M,w)end;local function N(O)for x in pairs(G)do local P=G[x]and g('PTTL',x)or-2;if
P~=-2 and P<O then g('PEXPIRE',x,q(O))end end end;if e=='page'then local x,Q=KEYS[tonumber(ARGV[9])]
,F..ARGV[12]if ARGV[12]~=''and g('ZREM',C,Q)+g('ZREM',D,Q)==2 then for R,A in ipairs(KEYS)do g(
'ZREMRANGEBYLEX',A,'['..F,'+')H(A,true,'')end end;if not g('ZSCORE',x,'')then for R,S in ipairs(KEYS
)do H(S,true,F..f)end;N(j)return n(false)end;local T=n(true)for R,w in ipairs(g('ZRANGEBYLEX',x,'('
..ARGV[10],'('..F,'LIMIT',0,ARGV[11]))do T[#T+1]='='..w end;return T end;if e=='index'then for y=1,#
KEYS-2 do local U=redis.pcall('HMGET',KEYS[y],'epoch','prefix','state','override','override.until')
local L=not U.err and(U[1]or'')~=''and(U[2]or ARGV[8])==ARGV[8]local V=tonumber(U[5])K(KEYS[y],L,U[3
]=='CLOSED'and((U[4]or'')==''or V and V<=m))end;N(j)return n(true)end;if e=='remove'then K(a)return
n(g('DEL',a,b,c,d)>0)end;if e=='confirm'then g('HDEL',a,unpack(ARGV,9))return n(true)end;if ARGV[3]
==''then local W,X=pcall(g,'TIME')if W then m=X[1]*1000+math.floor(X[2]/1000)end end;local Y,Z,_,a0=
z(a),{},{},false;local function a1(t,r)Y[t]=q(r)Z[t],a0=Y[t],true end;local function a2(t)Y[t],Z[t],
a0=nil,nil,true;_[#_+1]=t end;local function a3(t)return s(t,Y[t])end;local function a4()return(Y.
override or'')~=''end;local function a5(t)return t:sub(1,6)=='lease:'end;if Y.epoch==''then Y.epoch=
nil end;local a6=not Y.epoch;if Y.prefix and Y.prefix~=ARGV[8]then return redis.error_reply(
'ERR the circuit belongs to a store with another prefix')end;for R,t in ipairs(a6 and{}or{
'generation','since','began'})do s(t,Y[t]or'?')end;if e=='record'and not E then local a7=a3(
'indexed')if a6 or not a7 or a7>m or m-a7>=math.min(j,864e5)/8 then return n(false,true)end end;
local a8,a9={'epoch','policyHash','outcomes','cursor','since','trial','halfOpen.successes',
'halfOpen.failures','totals.successes','totals.failures','totals.rejected','totals.slow',
'lastFailureAt','lastSuccessAt','ids','traffic','traffic.before','sinceClosed.successes',
'sinceClosed.failures','sinceClosed.slow','consecutiveSuccesses','consecutiveFailures','start',
'newest.successes','newest.failures','newest.slow','floor','after','from','older.successes',
'older.failures','older.slow'},18;local aa,ab,ac,ad={},nil,false,false;local U=g('HMGET',b,'id:'..f,
unpack(a8))local W=s('id',table.remove(U,1))if not a6 and U[1]==Y.epoch then for y,ae in ipairs(a8)
do if y>4 then aa[ae]=s(ae,U[y])else aa[ae]=U[y]or nil end end;if W and m-math.floor(W/2)<60000 then
ab=W%2==1 end else U,ad={},U[1]end;local af=aa.policyHash;local function ag(ae)return aa[ae]or 0 end
;local function ah(ae,u)if u~=0 then aa[ae]=ag(ae)+u end end;local function ai(aj,ak,al,am)ah(aj..
'.successes',ak)ah(aj..'.failures',al)ah(aj..'.slow',am)end;local function an(aj)return ag(aj..
'.successes'),ag(aj..'.failures'),ag(aj..'.slow')end;local function ao(...)for R,ae in ipairs({...})
do aa[ae]=nil end end;local function ap()if aa.since~=a3('since')then ao('outcomes',unpack(a8,a9))aa
.since=a3('since')end;if aa.trial~=a3('generation')then ao('halfOpen.successes','halfOpen.failures')
aa.trial=a3('generation')end end;ap()local function aq(ar)ab,ac,a0=ar,true,true end;local as={
'consecutiveFailures','consecutiveSuccesses','sinceClosed.failures','sinceClosed.successes',
'sinceClosed.slow','totals.failures','totals.successes','totals.rejected','totals.slow',
'halfOpen.successes','halfOpen.failures'}local function at(au,av,aw,ax,ay,V,az,aA)if l==''then
return end;local aB,aC={},{}for t,r in pairs(Y)do local ag,aD=t:match('^row:(%d+) %-?%d+ (.*)$')if
ag then local a7=tonumber(r:match('^%S+ %S+ %S+ %S+ (%S+)'))or 0;local aE,aF={a7,tonumber(ag),aD,t},
aC[aD]aB[#aB+1]=aE;if not aF or a7<aF[1]or a7==aF[1]and aE[2]<aF[2]then aC[aD]=aE end end end;if#aB
>=64 then for R,aE in ipairs(aB)do local aF=aC[aE[3]]aE[5]=('%020.0f%020.0f%s %020.0f'):format(aF[1]
,aF[2],aE[3],aE[2])end;table.sort(aB,function(aG,aH)return aG[5]<aH[5]end)local aI,aJ=aB[1][4],aB[2]
[4]local aK,aL=Y[aJ]:match('^(%d+)(.*)$')a1(aJ,q((aK or 0)+1+(Y[aI]:match('^%d+')or 0))..(aL or''))
a2(aI)end;local aE={0,au,Y.state,av or Y.state,q(m),ay or'-',q(V or'-')}for R,ae in ipairs(as)do aE[
#aE+1]=q(ag(ae))end;aE[#aE+1]=ax or l;az=q(az or a3('generation')+1)aw=q(aw or m)a1('row:'..az..' '
..aw..' '..(aA or Y.epoch),table.concat(aE,' '))end;local function aM(az,aw,aN)a1('generation',az)a1(
'began',aw)if aN then a1('since',az)end;for t in pairs(Y)do if a5(t)then a2(t)end end;ap()end;local
function aO(aw,aN)aM(a3('generation')+1,aw,aN)end;local function aP(aA,az,aw)return aA==Y.epoch and
tonumber(az)==a3('generation')and tonumber(aw)==a3('began')end;local aQ=false;local aR=f..'.'..q(m)
local function aS(az)for t in pairs(Y)do if t:sub(1,4)~='row:'and t~='expires'then a2(t)end end;aa,
aQ={},true;a1('epoch',aR)a1('state','CLOSED')a1('prefix',ARGV[8])aM(az,m,true)end;local function aT(
aU)if not ARGV[aU]then return end;for t in pairs(Y)do if t:sub(1,7)=='policy.'then a2(t)end end;for
y=aU,#ARGV,2 do a1(ARGV[y],ARGV[y+1])end end;local function aV(aw,ay,V,aW,aX)a1('override',ay)a1(
'override.until',V)a1('override.reason',aW)a1('override.actor',aX)aQ=true;aO(aw,true)end;local aY={}
local function aZ()local V=a3('override.until')if a4()and V and V<=m then local a_=
'{"reason":"expired","actor":null,'..(l:match('"isolate":.*')or'}')at('released',nil,V,a_,Y.override
)for t,r in pairs(Y)do if t:sub(1,8)=='override'then aY['released'..t:sub(9)]=r end end;aV(V)end end
;local function b0()return Y.epoch..':'..Y.since end;local b1={}local function b2(w,aJ,b3,u,am,b4)
local A,b5=z(w)if A.of~=b0()then if b3 and b5 then g('DEL',w)end;A={}b1[w]=b3 end;local b6,b7,aU,b8=
{},{0,0},nil,{}local function b9(t,ba)if ba==0 then return end;A[t]=q((s(t,A[t])or 0)+ba)b6[#b6+1],
b6[#b6+2]=t,A[t]end;local bb=b3 and{[q(b3)]=u,['s'..q(b3)]=am}or{}for t,ba in pairs(bb)do if b4 and
A[t]then A[t],b8[#b8+1]=nil,t end;b9(t,ba)end;for t,bc in pairs(A)do local Q,aw=t:match(
'^(s?)(%-?%d+)$')aw=tonumber(aw)if aw and(aw>aJ or aw==b3)then local y=#Q+1;b7[y]=b7[y]+s(t,bc)aU=
math.min(aU or aw,aw)elseif aw then b8[#b8+1]=t end end;if b3 and#b8>(b4 and 0 or 20)then v(w,b8)end
;if#b6>0 then g('HSET',w,'of',b0(),unpack(b6))end;return b7[1],b7[2],aU end;local function bd(aJ,b3,
ak,al,am)local be,bf,bg=an('older')local b4=b3 and b3<=aJ;local bh,R,aU,bi=b4 or aa.after and aa.
after>aJ,nil,nil,nil;if bh or be+ak>0 then be,R,aU=b2(d,aJ,b3,ak,0,b4)end;if bh or bf+bg+al+am>0
then bf,bg,bi=b2(c,aJ,b3,al,am,b4)end;if b4 then aJ=b3-1;aa.floor=aJ end;aa['older.successes'],aa[
'older.failures'],aa['older.slow']=be,bf,bg;aa.after,aa.from=aJ,aU and bi and math.min(aU,bi)or aU
or bi end;local function bj(ak,al,am,bk)local bl,bm,b3=math.ceil(h/10),m,aa.start;if not b3 or bk>0
or m>=b3+bl then bm=math.max(m,b3 or m)b3=math.floor((bm-bk)/bl)*bl;if b3<=bm-h then return end end;
if b3~=aa.start then local bn=math.max(aa.floor or bm-h,bm-h)aa.floor=bn;if aa.start and b3<aa.start
then return bd(bn,b3,ak,al,am)end;if aa.start and aa.start>bn then bd(bn,aa.start,an('newest'))else
ao('after','from','older.successes','older.failures','older.slow')end;ao('newest.successes',
'newest.failures','newest.slow')aa.start=b3 end;ai('newest',ak,al,am)end;local function bo(ae,bp)
local bq=aa[ae]if not(bq and bq>bp and bq<=m)then aa[ae]=bp end end;local function bc(ak,al,am,bk,aF
)ai('sinceClosed',ak,al,am)if ak>0 then ah('consecutiveSuccesses',ak)ao('consecutiveFailures')bo(
'lastSuccessAt',m-aF)end;if al>0 then local br=math.max(0,m-(aa.lastSuccessAt or-1e15))if bk<=br
then ah('consecutiveFailures',aF>br and 1 or al)ao('consecutiveSuccesses')end;bo('lastFailureAt',m-
bk)end;if Y.state=='HALF_OPEN'then ai('halfOpen',ak,al,0)end;bj(ak,al,am,bk)if i>0 then local bp=(
'S'):rep(math.min(ak,i))..('F'):rep(al)aa.outcomes=((aa.outcomes or'')..bp):sub(-i)end end;local bs=
100;local function bt(t)local V,bl=(Y[t]or''):match('^(%S+) (%S+)$')return s(t,V or Y[t]),s(t,bl)end
;local function bu(bv,bw,bx)local by=0;for t in pairs(Y)do if a5(t)then local V,bl=bt(t)if V<=m or
bl>0 and V-m>2*bl then a2(t)elseif bl>0 then by=by+1 end end end;local t='lease:'..bv;local V,bl=bt(
t)if V then return bl>0 end;if by>=bw then return false end;a1(t,q(m+bx)..' '..q(bx))return true end
;local function bz(bv)local V,bl=bt('lease:'..bv)if not V or bl==0 then return end;a1('lease:'..bv,q(
V)..' 0')local bc,aF,bA=0,nil,nil;for t in pairs(Y)do if a5(t)then V,bl=bt(t)if bl==0 then bc=bc+1;
if not aF or V<bA then aF,bA=t,V end end end end;if bc>bs then a2(aF)end end;local o,p=true,false;
local function bB(bC,bD)o=Y.epoch or bC;if not o then return end;if not Y.epoch then aS(1)end;if ab
==nil then aZ()aq(bD())end;o=ab end;if e=='record'then local aA,az=ARGV[9],tonumber(ARGV[10])local
ak,al,am=tonumber(ARGV[12]),tonumber(ARGV[13]),tonumber(ARGV[15])bB(true,function()local bE=aP(aA,az
,ARGV[11])if aA==''then bE=az==0 and a3('generation')==1 end;ai('totals',ak,al,am)ah(
'totals.rejected',tonumber(ARGV[14]))if ARGV[19]~=''then aa.policyHash=ARGV[19]end;if bE then aT(20)
end;if bE and ak+al>0 then local bk=math.max(0,math.floor(ARGV[16]))bc(ak,al,am,bk,math.max(bk,math.
floor(ARGV[17])))end;bz(ARGV[18])local bF=math.floor(m/1000)local bG=bF-math.floor(ag('traffic')/1e6
)if bG~=0 then aa['traffic.before'],aa.traffic=bG==1 and ag('traffic')%1e6 or nil,bF*1e6 end;ah(
'traffic',1)return bE end)elseif e=='acquire'and Y.epoch then aZ()p=ab or false;if a4()then o=Y.
override~='forced_open'elseif Y.state~='CLOSED'then local P,bl=(a3('openUntil')or m)-m,a3(
'cooldownMs')local bH=bl and P>bl+math.max(bl,60000)if not p and Y.state=='OPEN'and(P<=0 or bH)then
at('half_opened','HALF_OPEN')a1('state','HALF_OPEN')a1('reason','cooldown_passed')aO(m)p=true;aq(
true)end;o=Y.state=='HALF_OPEN'and bu(ARGV[9],tonumber(ARGV[10]),tonumber(ARGV[11]))end elseif e==
'transition'then local av,bI=ARGV[9],ARGV[14]~=''bB(not bI,function()if bI and not aP(ARGV[13],ARGV[
14],ARGV[15])then return false end;if ARGV[10]=='closed'and ag('halfOpen.failures')>=tonumber(ARGV[
17])then return false end;at(ARGV[10],av)if av=='OPEN'then a1('reopenCount',Y.state=='HALF_OPEN'and(
a3('reopenCount')or 0)+1 or 0)a1('openedAt',m)a1('openUntil',m+ARGV[11])a1('cooldownMs',ARGV[11])a1(
'lastFailure',ARGV[16])else if Y.state~='CLOSED'then a1('closedAt',m)end;a1('reopenCount',0)a1(
'openUntil')a1('cooldownMs')end;aT(18)a1('state',av)a1('reason',ARGV[12])aO(m,av=='CLOSED')return
true end)elseif e=='override'then local ay,V=ARGV[9],tonumber(ARGV[10])bB(ay~='',function()if ay==''
and not a4()then return false end;V=V and math.floor(V-ARGV[2]+m)at(ay==''and'released'or ay,nil,nil
,nil,ay==''and Y.override or ay,V)aV(m,ay,V,ARGV[11],ARGV[12])return true end)elseif e=='restore'
then local bq=Y.epoch;bB(true,function()if bq and ARGV[9]=='keep'then return false end;local az=math
.max(a3('generation'),ARGV[10])+1;at('imported',ARGV[13]:sub(2),nil,nil,nil,nil,az,aR)aS(az)local
function bJ(r)local Q=r:sub(1,1)if Q=='='then return r:sub(2)end;return Q=='@'and q(r:sub(2)-ARGV[2]
+m)or r end;local aF,bK=12+2*ARGV[11],{}for R,ae in ipairs(a8)do bK[ae]=true end;for y=12,aF-1,2 do
local t,r=ARGV[y],bJ(ARGV[y+1])if bK[t]then aa[t]=t~='policyHash'and tonumber(r)or r else a1(t,r)end
end;for y=aF,#ARGV,4 do if aa.start then bd(-1e15,aa.start,an('newest'))end;aa.start,aa[
'newest.successes']=tonumber(bJ(ARGV[y])),tonumber(ARGV[y+1])aa['newest.failures'],aa['newest.slow']
=tonumber(ARGV[y+2]),tonumber(ARGV[y+3])end;af=aa.policyHash;return true end)end;local be,bf,am=0,0,
0;local aJ=math.max(m,aa.start or m)-h;aJ=math.max(aJ,aa.floor or aJ)if aa.start and aa.start>aJ
then if(aa.after or aJ)>aJ or(aa.from or m)<=aJ then bd(aJ,nil,0,0,0)end;be,bf,am=an('newest')be,bf,
am=be+ag('older.successes'),bf+ag('older.failures'),am+ag('older.slow')end;if a0 then aa.epoch=Y.
epoch;if not a3('openedAt')and not a4()then j=math.min(j,864e5)end;local bL=math.max(m,a3(
'openUntil')or 0,a3('override.until')or 0)+j;local bM=bL>(a3('expires')or 0)if bM then a1('expires',
bL+math.floor(j/8))end;if E then a1('indexed',m)end;v(a,_)local b6,b8={},{}for t,r in pairs(Z)do b6[
#b6+1],b6[#b6+2]=t,r end;if#b6>0 then g('HSET',a,unpack(b6))end;b6={}if ac then aa.ids=ag('ids')+1;
if aa.ids%16==0 then local T=g('HSCAN',b,(aa.cursor or''):match('^%d+$')or 0,'MATCH','id:*','COUNT',
64)aa.cursor=T[1]for y=1,#T[2],2 do if m-math.floor((tonumber(T[2][y+1])or 0)/2)>=60000 then b8[#b8+
1]=T[2][y]end end end;b6={'id:'..f,q(m*2+(ab and 1 or 0))}end;for y,ae in ipairs(a8)do local r=q(aa[
ae])if r~=(U[y]or'')then b6[#b6+1],b6[#b6+2]=ae,r end end;b1[a],b1[b]=aQ,not U[1]if ad then g('DEL',
b)end;v(b,b8)if#b6>0 then g('HSET',b,unpack(b6))end;if E then K(a,true,Y.state=='CLOSED'and not a4()
)N(a3('expires')-m)end;for R,w in ipairs({a,b,c,d})do if w==a and a4()and not a3('override.until')
then if aQ then g('PERSIST',a)end elseif b1[w]or bM and not a6 then g('PEXPIRE',w,q(a3('expires')-m)
)end end end;local ar=n(o,p)local function bN(A,bq)for t,r in pairs(A)do local bO=t:sub(1,4)=='row:'
and not k;if not bO and not(a5(t)and r:sub(-2)==' 0')then ar[#ar+1],ar[#ar+2]=(bq or'')..t,'='..q(r)
end end end;if Y.epoch then bN(Y)bN(aa)bN(aY)bN({policyHash=af or'',successes=be,failures=bf,slow=am
},'answer.')if e=='read'and ARGV[9]then for y,W in ipairs(g('HMGET',b,unpack(ARGV,9)))do bN({[ARGV[y
+8]]=W})end end;if e=='dump'then bN(z(c),'failures:')bN(z(d),'successes:')end end;return ar`;

/** Its SHA-1, by which Redis knows it. */
export const SCRIPT_SHA1: string = "7db30b0c3c19f643d52c70bb06a0dba2a083d238";

/** The line by which Upstash locks only the keys that a script declares. Redis 7 refuses it. */
export const LOCKING = "#!lua flags=allow-key-locking\n";

/** The SHA-1 of the script behind that line. */
export const LOCKING_SHA1: string = "e580a8ce3b8d072e483c0b385d117ef49ce14224";
